"""The options of every command, each stated once: its default, its help and what it may be. Imports nothing heavy."""
