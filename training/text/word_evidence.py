"""What is known of one word in one picture, by whoever captions it; plain data, without Beam or TensorFlow.

A captioner says at least its caption. One that knows more hands over, beside the caption, what it knows of words (as
its vocabulary spells them). Everything downstream works with whichever kinds are there:

expected: mean times said over the captions that the decoder weighed, by their probability; 0 or more.
presence: calibrated probability, 0 to 1, that a person who captions the picture uses the word.
grounding: log p(word | picture) - log p(word | mean picture), in nats; below 0 the picture speaks against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("said", "expected", "presence", "grounding")
MILLION = 1_000_000  # evidence is rounded to millionths where it enters, so that all sums of it are exact integers
FLOOR = 0.01  # a word that a caption does not say is remembered from this probability or expected count on

_RANGES = {"expected": (0, np.inf), "presence": (0, 1), "grounding": (-np.inf, np.inf)}


@dataclass(frozen=True, eq=False)  # arrays have no one answer to ==
class PictureEvidence:
    """Evidence for the words of one picture.

    Attributes:
      kinds: K of `KINDS` beside "said", the same ones for every picture.
      words: W of them; every word of the caption that the captioner knows anything of, others where they matter. A word
        that is missing has a presence and an expected count below `FLOOR`.
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
        """What a caption row stores: values rounded to millionths."""
        rounded = (np.rint(self.values.astype(np.float64) * MILLION) / MILLION + 0.0).tolist()  # -0.0 becomes 0.0
        words = {word: dict(zip(self.kinds, row, strict=True)) for word, row in zip(self.words, rounded, strict=True)}
        return {"kinds": list(self.kinds), "words": words}


def millionths(value: float) -> int:
    """Number -> the nearest whole number of millionths."""
    return round(value * MILLION)
