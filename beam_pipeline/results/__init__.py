"""What a finished directory holds, as pages, exports and commands read it."""
