"""Evidence for words in a picture, beside its caption; plain data, without Beam or TensorFlow.

Every captioner gives a caption. One that knows more also gives evidence for words (as its vocabulary spells them), of
one or more kinds; everything downstream works with the kinds that there are:

- said: times that the caption uses the word.
- expected: expected number of times in a caption, by the probabilities of the decoder; 0 or more.
- presence: calibrated probability, 0 to 1, that a person who captions the picture uses the word.
- grounding: log p(word | picture) - log p(word | mean picture), in nats; below 0 the picture is evidence against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("said", "expected", "presence", "grounding")
MILLION = 1_000_000  # evidence is rounded to millionths on input, so that all its sums are exact integers
FLOOR = 0.01  # words that are not in the caption are kept from this presence or expected count on

_RANGES = {"expected": (0, np.inf), "presence": (0, 1), "grounding": (-np.inf, np.inf)}


@dataclass(frozen=True, eq=False)  # arrays have no one answer to ==
class PictureEvidence:
    """Evidence for the words of one picture.

    Attributes:
      kinds: K of `KINDS` beside "said", the same ones for every picture.
      words: W of them: those of the caption that the captioner has evidence for, and others that matter. A word that is
        missing has a presence and an expected count below `FLOOR`.
      values: float [W, K].

    Raises:
      ValueError: a value is out of its range or not finite.
    """

    kinds: tuple[str, ...]
    words: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        least, most = np.array([_RANGES[kind] for kind in self.kinds]).T
        within = np.isfinite(self.values) & (self.values >= least) & (self.values <= most)
        if not within.all():
            word = int(np.argmin(within.all(axis=1)))
            known = dict(zip(self.kinds, self.values[word].tolist(), strict=True))
            raise ValueError(f"{self.words[word]!r}: {known}: expected is 0 or more, presence between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """Entry "evidence" of a caption row, its values rounded to millionths."""
        rounded = (np.rint(self.values.astype(np.float64) * MILLION) / MILLION + 0.0).tolist()  # -0.0 becomes 0.0
        words = {word: dict(zip(self.kinds, row, strict=True)) for word, row in zip(self.words, rounded, strict=True)}
        return {"kinds": list(self.kinds), "words": words}


def millionths(value: float) -> int:
    """Number -> the nearest whole number of millionths."""
    return round(value * MILLION)
