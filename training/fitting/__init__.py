"""Fits the captioner and the heads beside it."""
