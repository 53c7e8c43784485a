"""What the workers of a run report: results of shards, counts and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Results:
    """What the workers of a run report.

    Attributes:
      elements: what the steps gave, gathered.
      counts: name -> sum over all steps.
      notes: kind -> the first NOTES_KEPT texts, sorted.
    """

    elements: list[Any]
    counts: dict[str, int]
    notes: dict[str, list[str]]
