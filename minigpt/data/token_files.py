"""Texts as one long row of token ids, in memory and on disk."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .._checks import several
from ..tokenizer import Tokenizer


def encode_documents(documents: Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
    """(N,) token ids of all documents, an end-of-text token after each; uint16 where all ids fit, else uint32.

    Raises ValueError for no documents at all, and for a text in place of a list of texts.
    """
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    several("documents", documents, "texts")
    progress = tqdm(documents, desc="encoding", unit=" documents", leave=False, delay=2, disable=None)
    parts = [np.array(tokenizer.encode(document) + end, dtype=dtype) for document in progress]
    if not parts:
        raise ValueError("documents is empty: give at least one text")
    return np.concatenate(parts)


def write_token_file(tokens: np.ndarray, file: str | Path) -> None:
    """Keep token ids on disk as .npy. Raises ValueError for anything but a row of integers."""
    check_tokens("tokens", tokens, least=0)
    np.save(file, tokens)


def read_token_file(file: str | Path) -> np.ndarray:
    """(N,) ids, mapped from disk: nothing is read before it is used. Raises ValueError for another file."""
    try:
        tokens = np.lib.format.open_memmap(file, mode="r")
    except ValueError as error:
        raise ValueError(f"{file} is not a token file: {error}") from None
    check_tokens(str(file), tokens, least=0)
    return tokens


def check_tokens(name: str, tokens: np.ndarray, least: int) -> None:
    """Raise ValueError unless tokens is a row of at least so many integers."""
    kind, shape = np.asarray(tokens).dtype, np.shape(tokens)
    if kind.kind not in "iu" or len(shape) != 1:
        raise ValueError(f"{name} must be a row of integer ids, got {kind} {shape}")
    if len(tokens) < least:
        raise ValueError(f"{name} has {len(tokens)} tokens, one row needs context={least}")
