"""Models that detect and read text on a picture."""
