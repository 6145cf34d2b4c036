"""Text -> token file -> batches."""

from .batches import batch_at, segment_ids_of, targets_of
from .corpus import Document, documentation_corpus, is_held_out, module_documentation
from .texts import dataset_text, hold_out_tail, hold_out_tails
from .token_files import check_tokens, encode_documents, read_token_file, write_token_file

__all__ = [
    "Document",
    "batch_at",
    "check_tokens",
    "dataset_text",
    "documentation_corpus",
    "encode_documents",
    "hold_out_tail",
    "hold_out_tails",
    "is_held_out",
    "module_documentation",
    "read_token_file",
    "segment_ids_of",
    "targets_of",
    "write_token_file",
]
