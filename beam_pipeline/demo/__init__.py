"""A drawn collection with known truth, and every stage run on it."""
