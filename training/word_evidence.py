"""What is known of one word in one picture, by whoever captions it; plain data, without Beam or TensorFlow.

A captioner says at least its caption. One that knows more hands over, beside the caption, a mapping from words (as its
vocabulary spells them) to `WordEvidence`. Everything downstream works with whichever fields are there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("said", "expected", "presence", "grounding")
MILLION = 1_000_000  # evidence is rounded to millionths where it enters, so that all sums of it are exact integers
FLOOR = 0.01  # a word that a caption does not say is remembered from this probability or expected count on


@dataclass(frozen=True)
class WordEvidence:
    """Evidence for a word in a picture. None where a captioner does not know.

    Attributes:
      said: times that the best caption says it.
      expected: mean times said over the captions that the decoder weighed, by their probability; 0 or more.
      presence: calibrated probability, 0 to 1, that a person who captions the picture uses the word.
      grounding: log p(word | picture) - log p(word | mean picture), in nats; below 0 the picture speaks against it.

    Raises:
      ValueError: a value is out of its range or not finite.
    """

    said: int = 0
    expected: float | None = None
    presence: float | None = None
    grounding: float | None = None

    def __post_init__(self) -> None:
        for name in KINDS:
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} {value}: not a finite number")
        if self.said < 0 or (self.expected or 0) < 0 or not 0 <= (self.presence or 0) <= 1:
            raise ValueError(f"{self}: said and expected are 0 or more, presence lies between 0 and 1")


@dataclass(frozen=True)
class PictureEvidence:
    """Evidence for the words of one picture.

    Attributes:
      kinds: those of `KINDS` beside "said" that the captioner knows, the same ones for every picture.
      words: word -> its evidence; every word of the caption that the captioner knows anything of, others where they
        matter. A word that is missing has a presence and an expected count below `FLOOR`.
    """

    kinds: tuple[str, ...]
    words: Mapping[str, WordEvidence]


def millionths(value: float) -> int:
    """Number -> the nearest whole number of millionths."""
    return round(value * MILLION)


def to_json(evidence: PictureEvidence, said: Mapping[str, int], floor: float = FLOOR) -> dict[str, Any]:
    """Evidence of a picture, and the times its caption says each word -> what its caption row stores.

    Words are sorted and values rounded to millionths. A word below the floor is left out unless it is said: a picture
    has a few dozen words worth naming, not thousands.
    """
    words = {}
    for word in sorted(evidence.words):
        known = evidence.words[word]
        if word in said or (known.presence or 0) >= floor or (known.expected or 0) >= floor:
            values = {kind: getattr(known, kind) for kind in KINDS[1:] if getattr(known, kind) is not None}
            words[word] = {kind: millionths(float(value)) / MILLION for kind, value in values.items()}
    return {"kinds": list(evidence.kinds), "words": words}


def from_json(stored: Mapping[str, Any] | None, said: Mapping[str, int]) -> PictureEvidence:
    """What `to_json` gave, or None, and the times the caption says each word -> evidence of every word of either."""
    known = stored["words"] if stored else {}
    words = {word: WordEvidence(said=said.get(word, 0), **known.get(word, {})) for word in sorted({*known, *said})}
    return PictureEvidence(tuple(stored["kinds"]) if stored else (), words)
