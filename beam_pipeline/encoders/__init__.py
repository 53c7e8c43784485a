"""Pixels -> features: a network (`architectures`), its weights, and the library that runs it (`engines`)."""
