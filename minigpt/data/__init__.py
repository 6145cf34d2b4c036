"""Text -> token file -> batches."""

from .texts import (
    batch_at,
    dataset_text,
    documentation_corpus,
    encode_documents,
    hold_out_tail,
    is_held_out,
    module_documentation,
    read_token_file,
    segment_ids_of,
    targets_of,
    write_token_file,
)

__all__ = [
    "batch_at",
    "dataset_text",
    "documentation_corpus",
    "encode_documents",
    "hold_out_tail",
    "is_held_out",
    "module_documentation",
    "read_token_file",
    "segment_ids_of",
    "targets_of",
    "write_token_file",
]
