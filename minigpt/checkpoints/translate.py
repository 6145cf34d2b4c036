"""Walk a name table: Hugging Face's tensors -> ours, and back."""

import re
from collections.abc import Container

import torch

from ..fast import laid_out
from .files import CONFIG_FILE, CheckpointError


def plain_names(tensors: dict[str, torch.Tensor], names, file) -> dict[str, torch.Tensor]:
    """Names without what torch.compile (_orig_mod.), DDP (module.) and Hugging Face (names.PREFIX) put in front.

    Raises CheckpointError when two tensors end up with one name.
    """
    plain = {}
    for name, tensor in tensors.items():
        short = re.sub(rf"^(_orig_mod\.|module\.|{re.escape(names.PREFIX)})+", "", name)
        if short in plain:
            raise CheckpointError(f"{file}: tensor {short} is there twice, once as {name}")
        plain[short] = tensor
    return plain


def check_layers(tensors: dict[str, torch.Tensor], names, n_layer: int, file) -> None:
    """Raise CheckpointError when the file has not as many layers as config.json says: before they are all built."""
    found = {int(number) for name in tensors for number in re.findall(rf"\b{names.LAYER}\.(\d{{1,9}})\.", name)}
    if len(found) != n_layer:
        raise CheckpointError(f"{file} has the tensors of {len(found)} layers, {CONFIG_FILE} says n_layer={n_layer}")


def from_hugging_face(
    tensors: dict[str, torch.Tensor],
    names,
    shapes: dict[str, tuple],
    n_layer: int,
    file="checkpoint",
    dtype=None,
    matrices: Container[str] = (),
) -> dict[str, torch.Tensor]:
    """Walk the name table: Hugging Face's tensors -> ours, each checked against the shape the model expects.

    names is one of `NAMES`. dtype None = as they are. matrices are the (our) names of weights that multiply, laid out
    in memory as products read them. The dictionary is emptied, so that no weight is in memory twice for long.
    Raises CheckpointError for a tensor that is missing, unexpected, of another shape, not floating point, not finite,
    and for a head that differs from the token embedding in a tied model.
    """
    callers_own, tensors = tensors, plain_names(tensors, names, file)
    callers_own.clear()
    state = {}
    if names.HEAD not in shapes and names.HEAD in tensors:
        _take_tied_head(tensors, names, file)
    for theirs, ours, transpose in _table_rows(names, n_layer):
        tensor = tensors.pop(theirs, None)
        if ours is None or (ours == names.HEAD and ours not in shapes):
            continue
        if tensor is None:
            raise CheckpointError(f"{file}: tensor {theirs} is missing")
        targets = ours if isinstance(ours, tuple) else (ours,)
        expected = (len(targets) * shapes[targets[0]][0], *shapes[targets[0]][1:])
        expected = expected[::-1] if transpose else expected
        if tuple(tensor.shape) != expected:
            raise CheckpointError(f"{file}: tensor {theirs} has shape {tuple(tensor.shape)}, expected {expected}")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{file}: tensor {theirs} holds {tensor.dtype}, expected floating point numbers")
        tensor = tensor.to(dtype or tensor.dtype)
        if not all_finite(tensor):
            raise CheckpointError(f"{file}: tensor {theirs} holds nan or inf")
        parts = (tensor.t() if transpose else tensor).chunk(len(targets))
        for name, part in zip(targets, parts, strict=True):
            state[name] = laid_out(part) if name in matrices else part.contiguous()
    if tensors:
        raise CheckpointError(f"{file}: unexpected tensor {sorted(tensors)[0]}, {len(tensors)} in all")
    return state


def _take_tied_head(tensors: dict[str, torch.Tensor], names, file) -> None:
    """Of a matrix that is there twice, or under the head's name only, leave it under the embedding's name. The two may
    have been rounded differently: equal in the coarser type is equal."""
    head = tensors.pop(names.HEAD)
    embedding = tensors.setdefault(names.TIED_TO, head)
    if not (head.is_floating_point() and embedding.is_floating_point()):
        raise CheckpointError(f"{file}: {names.HEAD} holds {head.dtype}, {names.TIED_TO} {embedding.dtype}")
    same = torch.equal(head.to(embedding.dtype), embedding) or torch.equal(head, embedding.to(head.dtype))
    if not same:
        raise CheckpointError(f"{file}: {names.HEAD} differs from {names.TIED_TO}, but the config ties them")


def to_hugging_face(state: dict[str, torch.Tensor], names, n_layer: int) -> dict[str, torch.Tensor]:
    """The name table the other way round: our tensors -> Hugging Face's, contiguous and ready to save."""
    tensors = {}
    for theirs, ours, transpose in _table_rows(names, n_layer):
        if ours is None or (ours == names.HEAD and ours not in state):
            continue
        tensor = torch.cat([state[name] for name in ours]) if isinstance(ours, tuple) else state[ours]
        prefix = "" if theirs == names.HEAD else names.PREFIX
        tensors[prefix + theirs] = (tensor.t() if transpose else tensor).detach().cpu().contiguous()
    return tensors


def _table_rows(names, n_layer: int):
    """The name table with {i} written out for every layer."""
    for theirs, ours, transpose in names.NAME_TABLE:
        for i in range(n_layer if "{i}" in theirs else 1):
            filled = tuple(name.format(i=i) for name in ours) if isinstance(ours, tuple) else ours and ours.format(i=i)
            yield theirs.format(i=i), filled, transpose


def all_finite(tensor: torch.Tensor) -> bool:
    """A finite sum has only finite terms, and costs one pass without a copy; an infinite one may have overflowed."""
    return bool(tensor.sum().isfinite() or tensor.isfinite().all())
