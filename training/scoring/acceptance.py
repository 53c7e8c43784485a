"""When a person would accept a caption: an event defined by what several people wrote of the same picture.

A caption is accepted if it agrees with people's captions at least as well as three in four people's captions agree with
those of the others. Agreement is CIDEr-D (Vedantam et al. 2015), which was made to measure consensus; a picture's n
captions are each set aside once, and the caption is compared with the same n - 1 others as the person's is.

Letters: N pictures, R rounds, one caption of each picture set aside in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.scoring.scores import Captions, References, caption_set, cider_of_pictures

PEOPLE_QUANTILE = 0.25  # of people's own captions, this share is not accepted
ROUNDS = 5  # at most; pictures with more captions set some of them aside


@dataclass(frozen=True)
class Acceptance:
    """Which captions of a set of pictures people would accept.

    Attributes:
      pictures: N names, sorted.
      agreement: float64 [N], of each caption with the references, 0 to 10.
      people: float64 [N, R], the like of each caption that was set aside.
      threshold: agreement from which on a caption is accepted.
      strangers: share of people's captions that would be accepted of another picture, one caption of each picture.
    """

    pictures: tuple[str, ...]
    agreement: np.ndarray
    people: np.ndarray
    threshold: float
    strangers: float

    @property
    def accepted(self) -> np.ndarray:
        """bool [N]"""
        return self.agreement >= self.threshold

    def event(self) -> dict[str, Any]:
        """What is predicted, as JSON files tell it."""
        return {
            "agreement": "CIDEr-D",
            "people_quantile": PEOPLE_QUANTILE,
            "threshold": round(self.threshold, 6),
            "accepted_of_another_picture": round(self.strangers, 4),
        }


def acceptance(generated: Captions, references: References) -> Acceptance | None:
    """One caption a picture, and what people wrote -> Acceptance; None where fewer than two pictures have two captions.

    Pictures with one reference are left out: with nobody else to agree with, people's own agreement is unknown.
    """
    names = sorted(name for name in generated if len(references[name]) > 1)
    if len(names) < 2:  # CIDEr weighs words by how few pictures use them
        return None
    ours, people = [], []
    for turn in range(min(ROUNDS, max(len(references[name]) for name in names))):
        aside, others = {}, {}
        for name in names:
            texts = list(references[name])
            aside[name] = texts.pop(turn % len(texts))
            others[name] = texts
        people.append(cider_of_pictures(caption_set(aside, others)))
        ours.append(cider_of_pictures(caption_set({name: generated[name] for name in names}, others)))
    said = np.stack(people, axis=1)
    threshold = float(np.quantile(said, PEOPLE_QUANTILE))
    # The next picture's, by name, against the last round's references.
    wrong = {name: aside[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}
    strangers = float((cider_of_pictures(caption_set(wrong, others)) >= threshold).mean())
    return Acceptance(tuple(names), np.mean(ours, axis=0), said, threshold, strangers)
