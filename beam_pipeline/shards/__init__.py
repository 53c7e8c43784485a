"""What is left to do, and what was done: shards, ledgers, manifests, runs."""
