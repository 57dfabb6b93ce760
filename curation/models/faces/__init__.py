"""Models that detect faces on a picture."""
