"""What a collection is compared with: the captions that a captioner was trained on, or another captioned collection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.words.summary import TABLES, read_summary
from beam_pipeline.words.terms import WORD
from training.errors import UserError
from training.text.word_counts import load_word_counts

PRESENCE_TAIL = "presence_tail.json"
_SAME = ("model_id", "encoder_id", "beam_width", "min_words", "guidance")


@dataclass(frozen=True)
class Reference:
    """How often texts that a collection is compared with use each term.

    Attributes:
      name: for a person.
      documents: number of texts: captions that people wrote, or distinct pictures captioned.
      said: kind of term -> text -> documents that say it. A kind that is missing was not counted.
      estimated: the like, by the estimates of a collection whose presence of words is known; else empty.
      made_with: captioner and settings that wrote the texts, or None for people.
    """

    name: str
    documents: int
    said: Mapping[str, Mapping[str, float]]
    estimated: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    made_with: Mapping[str, Any] | None = None


def training_reference(captioner: str) -> Reference | None:
    """Captioner directory -> its training captions, each a document; None where it does not carry their counts."""
    counts = load_word_counts(captioner)
    if counts is None:
        return None
    return Reference("training captions", counts.captions, {WORD: counts.in_captions})


def captions_reference(directory: str, option: str) -> Reference:
    """Captions directory -> Reference of its distinct pictures.

    Args:
      option: what the user gave the directory as, for messages.

    Raises:
      UserError: it is none, or its run has not ended.
    """
    summary = read_summary(directory, option)
    said: dict[str, dict[str, float]] = {}
    estimated: dict[str, dict[str, float]] = {}
    for kind, name in TABLES.items():
        rows = read_parquet(storage.read_bytes(storage.join(directory, f"{name}.parquet")))
        said[kind] = {row["word"]: row["images"] for row in rows if row["images"]}
        if "presence" in summary["evidence"]:
            estimated[kind] = {row["word"]: row["estimate"] for row in rows}
    return Reference(directory, summary["pictures"], said, estimated, summary["made_with"])


def require_same_captioner(first: Mapping[str, Any], second: Mapping[str, Any], what: str) -> None:
    """Refuses to compare what different captioners said: the difference would be theirs.

    Raises:
      UserError: model, encoder or beam width differ.
    """
    for name in _SAME:
        if first.get(name) != second.get(name):
            raise UserError(
                f"{what}: made with {name} {first.get(name)} and {second.get(name)}, so they would differ by captioner "
                "and not by content; caption both with one captioner and beam width"
            )


def load_presence_tail(captioner: str) -> dict[str, float]:
    """Captioner directory -> word -> its mean presence in pictures where it lies below the floor; empty where unknown.

    What is below the floor is little in one picture and not little in ten thousand: this is what the estimates add.
    """
    path = storage.join(captioner, PRESENCE_TAIL)
    return json.loads(storage.read_bytes(path))["words"] if storage.exists(path) else {}
