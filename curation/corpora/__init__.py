"""Lists, reads and indexes raw corpora."""
