"""The captioner and the heads beside it, in memory and on disk."""
