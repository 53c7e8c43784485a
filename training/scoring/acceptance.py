"""Acceptance of a caption: an event defined by the captions of several people for the same picture.

A caption is accepted if it agrees with people's captions at least as well as three in four people's captions agree with
those of the others. Agreement is CIDEr-D (Vedantam et al. 2015), which was made to measure consensus. Each of a
picture's n captions is held out once, and the caption is compared with the same n - 1 others as the held-out one.

Letters: N pictures, R rounds; each round holds out one caption of every picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.scoring.scores import Captions, References, caption_set, cider_of_pictures

PEOPLE_QUANTILE = 0.25  # of people's own captions, this share is not accepted
ROUNDS = 5  # at most; of pictures with more captions, some are never held out


@dataclass(frozen=True)
class Acceptance:
    """Which captions of a set of pictures people would accept.

    Attributes:
      pictures: N names, sorted.
      agreement: of each caption with the references, 0 to 10, float64 [N].
      people: agreement of each held-out caption with the others of its picture, 0 to 10, float64 [N, R].
      threshold: least agreement of an accepted caption.
      strangers: share of people's captions that would be accepted for another picture; one caption of each is tried.
    """

    pictures: tuple[str, ...]
    agreement: np.ndarray
    people: np.ndarray
    threshold: float
    strangers: float

    @property
    def accepted(self) -> np.ndarray:
        """Whether each caption is accepted, bool [N]."""
        return self.agreement >= self.threshold

    def event(self) -> dict[str, Any]:
        """Definition of the event, for JSON files."""
        return {
            "agreement": "CIDEr-D",
            "people_quantile": PEOPLE_QUANTILE,
            "threshold": round(self.threshold, 6),
            "accepted_of_another_picture": round(self.strangers, 4),
        }


def acceptance(generated: Captions, references: References) -> Acceptance | None:
    """Decides which captions people would accept.

    Pictures with one reference are left out: people's own agreement is unknown there.

    Args:
      generated: one caption per picture.
      references: captions by people.

    Returns:
      Acceptance; None if fewer than two pictures have two references.
    """
    names = sorted(name for name in generated if len(references[name]) > 1)
    if len(names) < 2:  # CIDEr weights words by how few pictures use them
        return None
    ours, people = [], []
    for turn in range(min(ROUNDS, max(len(references[name]) for name in names))):
        held_out, others = {}, {}
        for name in names:
            texts = list(references[name])
            held_out[name] = texts.pop(turn % len(texts))
            others[name] = texts
        people.append(cider_of_pictures(caption_set(held_out, others)))
        ours.append(cider_of_pictures(caption_set({name: generated[name] for name in names}, others)))
    of_people = np.stack(people, axis=1)
    threshold = float(np.quantile(of_people, PEOPLE_QUANTILE))
    # The next picture's, by name, against the last round's references.
    wrong = {name: held_out[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}
    strangers = float((cider_of_pictures(caption_set(wrong, others)) >= threshold).mean())
    return Acceptance(tuple(names), np.mean(ours, axis=0), of_people, threshold, strangers)
