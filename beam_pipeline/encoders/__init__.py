"""Pixels -> features."""
