"""Continue texts: `generate`, `stream`, and what happens inside."""

from .settings import Generation, generate, generate_details, steps, stream

__all__ = ["Generation", "generate", "generate_details", "steps", "stream"]
