"""Beam pipelines around the captioner: extract features, caption collections, count the words that matter."""
