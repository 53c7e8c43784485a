"""Features -> captions."""
