"""How good captions, confidence and word estimates are."""
