"""What is left to do and what was done: plans, shards, ledgers, manifests, runs."""
