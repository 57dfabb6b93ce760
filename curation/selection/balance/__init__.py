"""Balancing: how many images of each group are kept."""
