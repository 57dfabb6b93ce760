"""Computes signals: decides which row needs which signal, passes over a shard, and writes the files that result."""
