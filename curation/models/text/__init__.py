"""Models that write text: language models, translators, and clients of endpoints."""
