"""What a collection is compared with: the captions that its captioner was trained on, or another collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beam_pipeline.runtime import storage
from beam_pipeline.words.summary import TABLES, read_summary, read_table
from beam_pipeline.words.terms import WORD
from training.documents import Share
from training.errors import UserError
from training.own_names import PRESENCE_TAIL
from training.text.word_counts import load_word_counts

TRAINING_CAPTIONS = "training captions"  # name of the reference that a captioner carries
_SAME = ("model_id", "encoder_id", "beam_width", "min_words", "guidance", "judge")


@dataclass(frozen=True)
class _Tail:
    """Schema of `presence_tail.json`."""

    words: dict[str, Share]


@dataclass(frozen=True)
class Reference:
    """How many texts of a reference collection contain each term.

    Attributes:
      name: for a person.
      documents: number of texts: captions that people wrote, or captions of distinct pictures.
      document_frequency: kind of term -> text of the term -> documents that contain it. A kind that was not counted is
        missing.
      estimated_frequency: the same by estimate, where the reference is a collection whose presence of words is known;
        else empty.
      made_with: captioner and settings that wrote the texts, or None for people.
    """

    name: str
    documents: int
    document_frequency: Mapping[str, Mapping[str, float]]
    estimated_frequency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    made_with: Mapping[str, Any] | None = None


def training_reference(captioner: str) -> Reference | None:
    """Captioner directory -> Reference of its training captions; None where it does not carry their word counts."""
    counts = load_word_counts(captioner)
    if counts is None:
        return None
    return Reference(TRAINING_CAPTIONS, counts.captions, {WORD: counts.in_captions})


def captions_reference(directory: str, option: str) -> Reference:
    """Captions directory -> Reference of its distinct pictures.

    Args:
      option: how the user named the directory, for messages.

    Raises:
      UserError: it holds no finished captions.
    """
    summary = read_summary(directory, option)
    document_frequency: dict[str, dict[str, float]] = {}
    estimated_frequency: dict[str, dict[str, float]] = {}
    for kind in TABLES:
        rows = read_table(directory, kind)
        document_frequency[kind] = {row["word"]: row["images"] for row in rows if row["images"]}
        if "presence" in summary["evidence"]:
            estimated_frequency[kind] = {row["word"]: row["estimate"] for row in rows}
    return Reference(directory, summary["pictures"], document_frequency, estimated_frequency, summary["made_with"])


def require_same_captioner(first: Mapping[str, Any], second: Mapping[str, Any], what: str) -> None:
    """Refuses to compare captions of different captioners, whose differences are not the pictures'.

    Args:
      first, second: `made_with` of the two summaries.
      what: names the two collections, for the message.

    Raises:
      UserError: model, encoder or a setting of the decoder differs.
    """
    for name in _SAME:
        if first.get(name) != second.get(name):
            raise UserError(
                f"{what}: made with {name} {first.get(name)} and {second.get(name)}, so they differ by captioner and "
                "not only by content; caption both with the same captioner and settings"
            )


def load_presence_tail(captioner: str) -> dict[str, float]:
    """Captioner directory -> word -> its mean presence in pictures that do not mention it; empty where unknown.

    A picture's evidence leaves out words whose presence is below `word_evidence.FLOOR`. That is little in one picture
    and much in ten thousand, so estimates add this mean for each of them.
    """
    path = storage.join(captioner, PRESENCE_TAIL)
    tail = storage.read_document(path, _Tail, "restore it as training wrote it, or remove it to do without", 2)
    return tail.words if tail else {}
