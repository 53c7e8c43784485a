"""A picture with its caption, as captions-*.jsonl holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_pipeline.runtime import storage
from beam_pipeline.shards.shard_id import ShardId


class Alternative(NamedTuple):
    """One of the next best captions of a picture, with its own numbers."""

    caption: str
    score: float
    confidence: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True)
class CaptionedPicture:
    """A distinct picture as its line in `captions-*.jsonl` has it.

    Attributes:
      sha256, uri: of the picture.
      caption: the best one.
      score: mean log-probability of its words.
      flags: oddities of the caption.
      evidence: what else the captioner knows, as `PictureEvidence.to_json` writes it, or None.
      alternatives: the next best captions; they count nowhere.
      confidence: probability that a person would accept the caption, or None.
    """

    sha256: str
    uri: str
    caption: str
    score: float
    flags: tuple[str, ...] = ()
    evidence: Mapping[str, Any] | None = None
    alternatives: tuple[Alternative, ...] = ()
    confidence: float | None = None

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "uri": self.uri,
            "sha256": self.sha256,
            "caption": self.caption,
            "score": self.score,
            "flags": list(self.flags),
        }
        if self.confidence is not None:
            row["confidence"] = self.confidence
        if self.alternatives:
            row["alternatives"] = [one.to_json() for one in self.alternatives]
        return row if self.evidence is None else row | {"evidence": self.evidence}

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> CaptionedPicture:
        fields = (row["sha256"], row["uri"], row["caption"], row["score"], tuple(row["flags"]))
        alternatives = tuple(Alternative(**one) for one in row.get("alternatives", ()))
        return CaptionedPicture(*fields, row.get("evidence"), alternatives, row.get("confidence"))


def read_captions(shard: ShardId, output: str) -> Iterator[CaptionedPicture]:
    """Shard -> its pictures with their captions."""
    with storage.open_file(storage.join(output, shard.captions())) as file:
        for line in file:
            yield CaptionedPicture.from_json(json.loads(line))
