"""Models, each wrapped in a small class that knows nothing of signals and captions."""
