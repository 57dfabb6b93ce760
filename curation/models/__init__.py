"""Wraps each model in a small class that knows nothing of signals and captions."""
