"""Places whole-shard tasks on workers. Knows nothing of images."""
