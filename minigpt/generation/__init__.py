"""Continue texts: `generate` and `stream`, and the same with more to see, `generate_details` and `steps`. And what BERT
does instead: `fill_mask` and `sentence_vectors`."""

from .api import Generation, generate, generate_details, steps, stream
from .gaps import Gap, fill_mask, sentence_vectors
from .loop import Step

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
]
