"""Flags that mark a caption as odd, as caption rows and `confidence.json` spell them."""

from __future__ import annotations

UNFINISHED = "unfinished"  # cut at the length limit
REPEATS = "repeats"  # says a thing twice over
COPIED = "copied"  # a training caption word for word
UNLIKE = "unlike_training"  # the picture is like none of the training pictures
LOW = "low_confidence"  # below --min-confidence
