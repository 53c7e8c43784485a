"""Features -> the captions of a shard."""
