"""Finds duplicates: which images are alike, and which of them is kept."""
