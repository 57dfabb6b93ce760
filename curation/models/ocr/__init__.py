"""Models that find and read text on pictures."""
