"""Fit and score a captioner on feature shards; usable alone, knows nothing of Beam."""

__version__ = "0.1.0"  # of captionbeam; setup.py takes it from here
