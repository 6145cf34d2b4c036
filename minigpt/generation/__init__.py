"""Continue texts with `generate` and `stream`; `generate_details` and `steps` do the same and show more of it.
`stream_text` takes and gives text. BERT cannot continue texts: `fill_mask` and `sentence_vectors` are for it."""

from .api import Generation, generate, generate_details, steps, stream
from .gaps import Gap, fill_mask, sentence_vectors
from .loop import Step
from .text import stream_text

__all__ = [
    "Gap",
    "Generation",
    "Step",
    "fill_mask",
    "generate",
    "generate_details",
    "sentence_vectors",
    "steps",
    "stream",
    "stream_text",
]
