"""Captions -> which words matter."""
