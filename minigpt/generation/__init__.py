"""Continue texts: `generate` and `stream`, and the same with more to see, `generate_details` and `steps`."""

from .api import Generation, generate, generate_details, steps, stream
from .loop import Step

__all__ = ["Generation", "Step", "generate", "generate_details", "steps", "stream"]
