"""Word fidelity: how well estimates of the words in each picture agree with people's captions.

Every figure compares two matrices over the pictures of a list and the content words that their captions use at least
`MIN_USES` times: the share of a picture's captions that use a word, and an estimate of it. Letters: N pictures, W
words.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

# Words that say nothing about a picture; for these figures only, which another list would change.
_STOP_WORDS = """a an and another are as at be being by down for from front has have he her his in into is it its near
next of off on one or other out over she some that the their there they this three through to two up while who with
around behind"""
FIDELITY_STOP_WORDS = frozenset(_STOP_WORDS.split())
MIN_USES = 5
NAMED = 0.5  # pictures: a word whose estimates sum to less counts as never named
BINS = 15  # of the calibration error
SMOOTHING_PICTURES = 20.0  # pictures at the overall rate that are added to every sub-collection
_MIN_IN_THEME = 5  # pictures of a theme that hold a word, for its lift to be compared
_NOT_A_WORD = re.compile(r"[^a-z0-9' ]")
_LEAST = 1e-5  # smaller probabilities are not written
SHOWN = 20  # words in the lists of the most overstated and understated


@dataclass(frozen=True)
class Themes:
    """Which sub-collections are compared: the pictures with a caption that uses a word, for the most frequent words.

    Attributes:
      count: words at most.
      fewest, most: pictures of such a sub-collection.
    """

    count: int = 20
    fewest: int = 50
    most: int = 150


def fidelity_words(text: str) -> list[str]:
    """Text -> its content words in order; everything but ASCII letters, digits and apostrophes separates words.

    Simpler than `words.caption_words`, so that figures are easily reproduced elsewhere.
    """
    return [word for word in _NOT_A_WORD.sub(" ", text.lower().replace("-", " ")).split() if _is_content(word)]


def _is_content(word: str) -> bool:
    return word not in FIDELITY_STOP_WORDS


class Spelling:
    """Converts probabilities of a captioner's words to `fidelity_words`: "t-shirt" counts for "t" and for "shirt".

    Captions hardly ever use both a compound and its part on its own, so the probabilities are added.

    Attributes:
      words: content words, sorted.

    Args:
      words: U of the captioner.
    """

    def __init__(self, words: Sequence[str]):
        parts = [(place, part) for place, word in enumerate(words) for part in dict.fromkeys(fidelity_words(word))]
        self.words = sorted({part for _, part in parts})
        number = {part: n for n, part in enumerate(self.words)}
        self._from = np.array([place for place, _ in parts], np.int64)
        self._to = np.array([number[part] for _, part in parts], np.int64)

    def estimate(self, values: np.ndarray) -> dict[str, float]:
        """Probabilities float64 [U] -> {content word: probability}, very small ones left out."""
        summed = np.minimum(np.bincount(self._to, values[self._from], len(self.words)), 1.0)
        return {self.words[n]: round(float(summed[n]), 6) for n in np.flatnonzero(summed >= _LEAST)}


class People:
    """The words that people use for the pictures of a list.

    Attributes:
      names: N pictures, in the order of the list.
      words: W, sorted.
      captions: for each picture, the words of each of its captions.

    Args:
      captions: picture -> captions by people.
    """

    def __init__(self, captions: Mapping[str, Sequence[str]]):
        self.names = list(captions)
        uses: Counter[str] = Counter()
        self.captions: list[list[frozenset[str]]] = []
        for texts in captions.values():
            of_picture = [fidelity_words(text) for text in texts]
            for words in of_picture:
                uses.update(words)
            self.captions.append([frozenset(words) for words in of_picture])
        self.words = sorted(word for word, times in uses.items() if times >= MIN_USES)
        self._place = {word: number for number, word in enumerate(self.words)}

    def row(self, estimate: Mapping[str, float]) -> np.ndarray:
        """{word: value} of one picture -> float64 [W], 0 for missing words."""
        values = np.zeros(len(self.words))
        for word, value in estimate.items():
            if word in self._place:
                values[self._place[word]] = value
        return values

    def shares(self, without: int | None = None) -> np.ndarray:
        """Share of each picture's captions that use each word, float64 [N, W].

        Args:
          without: place of a caption to leave out; None for none.
        """
        shares = np.zeros([len(self.names), len(self.words)])
        for row, captions in enumerate(self.captions):
            kept = [words for number, words in enumerate(captions) if number != without]
            for words in kept:
                for word in words & self._place.keys():
                    shares[row, self._place[word]] += 1.0
            shares[row] /= max(len(kept), 1)
        return shares

    @functools.cached_property
    def holds(self) -> np.ndarray:
        """Whether any caption of a picture uses a word, bool [N, W]."""
        return self.shares() > 0

    def one_caption(self, number: int) -> np.ndarray:
        """1 where the caption at this place of a picture uses a word, else 0, float64 [N, W]."""
        return np.stack([self.row(dict.fromkeys(captions[number], 1.0)) for captions in self.captions])


def fidelity(
    people: People, estimate: np.ndarray, without: int | None = None, themes: Themes | None = None
) -> dict[str, Any]:
    """All figures of an estimate.

    Args:
      people: their words.
      estimate: probability of each word in each picture, float64 [N, W].
      without: place of the caption that is the estimate itself, which is not compared with itself; None for none.
      themes: which sub-collections are compared; None for the defaults.

    Returns:
      "count_spearman": rank correlation of the words' totals, None if all are equal; "never_named": share of the
      words whose total is below half a picture; "median_count_ratio_error": median factor between the totals;
      "shirt_ratio": the total of "shirt" over people's, None if they do not use it; "calibration_error": expected
      calibration error over all pictures and words; "picture_average_precision": mean over pictures; "contrast": mean
      over themes of the rank correlation of lifts, None without a theme; "brier": mean over captions and words of
      (estimate - whether the caption uses it) squared; "most_overstated", "most_understated": words whose totals lie
      farthest from people's, in standard deviations.
    """
    human = people.shares(without)
    total, truth = estimate.sum(axis=0), human.sum(axis=0)
    ratio = np.abs(np.log((total + 0.5) / (truth + 0.5)))
    shirt = people.words.index("shirt") if "shirt" in people.words else None
    contrast = _contrasts(people, human, estimate, themes or Themes())
    ranked = np.ptp(truth) > 0 and np.ptp(total) > 0
    distance = (total - truth) / np.sqrt(truth + 0.5)
    order = np.argsort(distance, kind="stable")
    listed = [{"word": people.words[n], "estimate": round(total[n], 2), "people": round(truth[n], 2)} for n in order]
    return {
        "count_spearman": round(float(spearmanr(truth, total).statistic), 4) if ranked else None,
        "never_named": round(float((total < NAMED).mean()), 4),
        "median_count_ratio_error": round(math.exp(float(np.median(ratio))), 3),
        "shirt_ratio": None if shirt is None else round(float(total[shirt] / truth[shirt]), 4),
        "calibration_error": round(_calibration_error(human, estimate), 5),
        "picture_average_precision": round(_average_precision(human, estimate), 4),
        "contrast": round(float(np.mean(contrast)), 4) if contrast else None,
        "brier": round(float(np.mean(np.square(estimate - human) + human * (1 - human))), 6),
        "most_overstated": [one for one in listed[::-1][:SHOWN] if one["estimate"] > one["people"]],
        "most_understated": [one for one in listed[:SHOWN] if one["estimate"] < one["people"]],
    }


def theme_words(people: People, themes: Themes | None = None) -> list[str]:
    """The words that define the sub-collections, the most frequent first."""
    return [people.words[number] for number in _theme_places(people.holds, themes or Themes())]


def _theme_places(holds: np.ndarray, themes: Themes) -> list[int]:
    pictures = holds.sum(axis=0)
    # Words are sorted, so alphabetical order decides among equals.
    ranked = np.argsort(-pictures, kind="stable")
    return [int(n) for n in ranked if themes.fewest <= pictures[n] <= themes.most][: themes.count]


def _contrasts(people: People, human: np.ndarray, estimate: np.ndarray, themes: Themes) -> list[float]:
    """Rank correlation of the words' lifts by people and by the estimate, for each theme."""
    holds = people.holds
    correlations = []
    for theme in _theme_places(holds, themes):
        inside = holds[:, theme]
        compared = holds[inside].sum(axis=0) >= _MIN_IN_THEME
        compared[theme] = False
        lifts = [_lift(matrix, inside)[compared] for matrix in (human, estimate)]
        # If every word has the same lift up to rounding, there is no order.
        if len(lifts[0]) < 2 or np.ptp(lifts[0]) < 1e-6:
            continue
        flat = np.ptp(lifts[1]) < 1e-6
        correlations.append(0.0 if flat else float(spearmanr(*lifts).statistic))
    return correlations


def _lift(matrix: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Smoothed log(rate in a sub-collection / overall rate) of each word, float64 [W].

    Args:
      matrix: float64 [N, W].
      inside: whether each picture is in the sub-collection, bool [N].
    """
    expected = matrix.sum(axis=0) / len(matrix)
    pictures = inside.sum() + SMOOTHING_PICTURES
    uses = matrix[inside].sum(axis=0) + SMOOTHING_PICTURES * expected
    return np.log((uses + 0.05) / (pictures * expected + 0.05))


def _calibration_error(human: np.ndarray, estimate: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian
    binning"): mean distance of estimate and share over 15 equal intervals of the estimate, weighted by their sizes.
    """
    bins = np.minimum((estimate * BINS).astype(int), BINS - 1).ravel()
    differences = np.bincount(bins, (estimate - human).ravel(), BINS)
    return float(np.abs(differences).sum() / estimate.size)


def _average_precision(human: np.ndarray, estimate: np.ndarray) -> float:
    """Mean over pictures of the average precision of the ranked words; equal estimates are in alphabetical order."""
    precisions = []
    for row, truth in zip(estimate, human > 0, strict=True):
        places = np.flatnonzero(truth[np.argsort(-row, kind="stable")])
        if len(places):
            precisions.append(float(np.mean(np.arange(1, len(places) + 1) / (places + 1))))
    return float(np.mean(precisions))


def training_rates(captions: Iterable[Sequence[str]]) -> dict[str, float]:
    """Captions of each training picture -> {word: share of all captions that use it}."""
    uses: Counter[str] = Counter()
    texts = 0
    for of_picture in captions:
        texts += len(of_picture)
        for text in of_picture:
            uses.update(set(fidelity_words(text)))
    return {word: times / texts for word, times in uses.items()}
