"""Computing signals: which row needs which, the pass over a shard, and the files that result."""
