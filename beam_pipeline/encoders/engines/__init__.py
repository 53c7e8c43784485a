"""What runs an encoder: one module an engine."""
