"""Under everything: files, processes, runners, logs."""
