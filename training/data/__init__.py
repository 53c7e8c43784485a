"""Feature sets and caption files as training reads them."""
