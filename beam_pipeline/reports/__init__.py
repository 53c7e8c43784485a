"""Results -> pages that open without a network."""
