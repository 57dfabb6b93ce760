"""Models that write text: language models, translators, endpoints."""
