"""Numbers with their nouns, for messages."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """Number and English noun in the singular -> "1 caption" or "1,200 captions"; only nouns whose plural adds an s."""
    return f"{int(number) if number == int(number) else number:,} {noun}{'' if number == 1 else 's'}"
