"""Results -> other programs' files."""
