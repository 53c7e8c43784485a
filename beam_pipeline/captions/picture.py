"""A picture with its caption, as one line of captions-*.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from beam_pipeline.runtime import storage
from beam_pipeline.shards.shard_id import ShardId


class Alternative(NamedTuple):
    """A caption of a picture beside the best one.

    Attributes:
      caption: its text.
      score: mean log-probability of its words.
      confidence: probability that a person would accept it, 0 to 1; None where the captioner gives none.
    """

    caption: str
    score: float
    confidence: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Its JSON object; without confidence where there is none."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True)
class CaptionedPicture:
    """A distinct picture with its caption.

    Attributes:
      sha256: hex digest of its content.
      uri: address of the file that stands for it.
      caption: the best caption.
      score: mean log-probability of its words.
      flags: oddities of the caption, see `training.models.flags`.
      evidence: what else the captioner knows of the words, as `PictureEvidence.to_json` writes it; None for nothing.
      alternatives: the next best captions; their words are not counted.
      confidence: probability that a person would accept the caption, 0 to 1; None where the captioner gives none.
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
        """Its JSON object; without the fields that the captioner does not give."""
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
        """JSON object that `to_json` made -> CaptionedPicture.

        Raises:
          KeyError: a field is missing.
        """
        fields = (row["sha256"], row["uri"], row["caption"], row["score"], tuple(row["flags"]))
        alternatives = tuple(Alternative(**one) for one in row.get("alternatives", ()))
        return CaptionedPicture(*fields, row.get("evidence"), alternatives, row.get("confidence"))


def read_captions(shard: ShardId, output: str) -> Iterator[CaptionedPicture]:
    """Captioned shard in a directory -> its pictures, in the order of the file.

    Raises:
      OSError: the file cannot be read.
    """
    with storage.open_file(storage.join(output, shard.captions())) as file:
        for line in file:
            yield CaptionedPicture.from_json(json.loads(line))
