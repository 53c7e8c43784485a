"""What `status` and `--dry-run` print: a name and a text in each line, in two columns."""

from __future__ import annotations

from collections.abc import Sequence

Entry = tuple[str, str]  # (name, text)


def print_entries(entries: Sequence[Entry]) -> None:
    """Prints the names in one column and the texts in another."""
    width = max(len(name) for name, _ in entries)
    for name, text in entries:
        print(f"{name:<{width}}  {text}")
