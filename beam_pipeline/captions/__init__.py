"""Features -> captions of a shard."""
