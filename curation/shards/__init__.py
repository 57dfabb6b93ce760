"""Training shards: which bucket an image goes to, and what of its file is published."""
