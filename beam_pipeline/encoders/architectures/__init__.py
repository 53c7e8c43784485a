"""Networks that encode pictures: one module a network, named in `encoders.registry`."""
