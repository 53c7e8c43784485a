"""Fit and score a captioner on feature shards; usable alone, knows nothing of Beam."""
