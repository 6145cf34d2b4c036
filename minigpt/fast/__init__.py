"""The same answers sooner, or in less memory."""
