"""Models that find faces."""
