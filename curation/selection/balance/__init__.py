"""Balance: how many of each group of images are kept."""
