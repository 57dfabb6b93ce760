"""Models for text detection and recognition."""
