"""A picture with its caption, as one line of captions-*.jsonl."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

from beam_pipeline.runtime import storage
from beam_pipeline.shards.shard_id import ShardId
from training.documents import Hex, Number, Share, parse_lines
from training.errors import UserError


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


@dataclass(frozen=True)
class _Alternative:
    caption: str
    score: Number
    confidence: Share | None = None


@dataclass(frozen=True)
class _Evidence:
    kinds: tuple[Annotated[str, Meta(pattern="^(expected|presence|grounding)$")], ...]
    words: dict[str, dict[str, Number]]

    def __post_init__(self) -> None:
        kinds = set(self.kinds)
        for word, values in self.words.items():
            if values.keys() != kinds:
                raise ValueError(f"{word!r} has {', '.join(values) or 'nothing'} in place of {', '.join(self.kinds)}")
            if not 0 <= values.get("presence", 0) <= 1 or values.get("expected", 0) < 0:
                raise ValueError(f"{word!r} has a presence or an expected count out of its range")


@dataclass(frozen=True)
class _Row:
    """Schema of a line of `captions-*.jsonl`."""

    uri: Annotated[str, Meta(min_length=1)]
    sha256: Hex
    caption: str
    score: Number
    flags: tuple[str, ...]
    confidence: Share | None = None
    alternatives: tuple[_Alternative, ...] = ()
    evidence: _Evidence | None = None

    def picture(self) -> CaptionedPicture:
        evidence = None
        if self.evidence is not None:
            evidence = {"kinds": list(self.evidence.kinds), "words": self.evidence.words}
        others = tuple(Alternative(one.caption, one.score, one.confidence) for one in self.alternatives)
        return CaptionedPicture(
            self.sha256, self.uri, self.caption, self.score, self.flags, evidence, others, self.confidence
        )


def read_captions(shard: ShardId, output: str) -> Iterator[CaptionedPicture]:
    """Captioned shard in a directory -> its pictures, in the order of the file.

    Raises:
      UserError: a line of the file is damaged.
      OSError: the file cannot be read.
    """
    path = storage.join(output, shard.captions())
    with storage.open_own(path) as file:
        mend = f"remove {shard.ledger()} and run captionbeam caption again, which makes the shard again"
        for row in parse_lines(file, _Row, path, mend):
            yield row.picture()


def captioned_contents(shard: ShardId, output: str) -> Iterator[str]:
    """Captioned shard in a directory -> hex sha256 of its pictures, up to a damaged line; none without its captions."""
    with contextlib.suppress(OSError, UserError):
        for picture in read_captions(shard, output):
            yield picture.sha256
