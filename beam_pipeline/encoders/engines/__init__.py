"""Libraries that run a network: one module an engine, named in `encoders.registry`."""
