"""The judge: chooses a picture's caption among the hypotheses of the beam search.

The search ranks by log-probability, and its first hypothesis is seldom the best of those that it keeps. The judge ranks
them by a weighted sum of signals, fitted to how well hypotheses of validation pictures score against what people wrote
(reranking as in Shen, Sarkar and Och 2004, "Discriminative reranking for machine translation"). One of the signals is
how far the hypotheses agree with each other (Kumar and Byrne 2004, "Minimum Bayes-risk decoding for statistical machine
translation").

Letters: B pictures, K hypotheses of a picture, T words, U words of the word-presence head, V the decoder's vocabulary,
G phrases, F signals.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from training.documents import Damaged, Number, Sha256
from training.models.confidence import content_number, half_of
from training.models.phrases import ORDERS, PhraseAgreement, PhraseHead, at_places, is_repeated, load_phrases
from training.models.presence import ABSENT, TINY
from training.own_names import JUDGE
from training.storage import read_document, remove, write_document
from training.text.plurals import counted
from training.text.vocabulary import END, PAD

SCHEMA_VERSION = 2
ContentNumber = Annotated[int, Meta(ge=0)]
SIGNALS = (
    "score",
    "words",
    "agreement",
    "coverage",
    "presence",
    "least_presence",
    "unsaid",
    "consensus",
    "repeated",
    "phrases",
)
_FOREMOST = 5  # words that a picture's people most likely use; the signal "unsaid" looks at these
_RENEW = "run the same train command again, which makes it anew"


@dataclass(frozen=True)
class _Document:
    """Schema of `judge.json` without its report."""

    fitted_to: str
    signals: tuple[str, ...]
    weights: tuple[Number, ...]
    halves: tuple[tuple[Number, ...], tuple[Number, ...]]
    fitted: tuple[ContentNumber, ...]
    rarity: tuple[Number, ...]
    phrases: tuple[str, ...]
    arrays_sha256: Sha256


# What `judge.json` holds beside the report.
_NOT_REPORT = {"schema_version", *(one.name for one in fields(_Document))}


@dataclass(frozen=True)
class Judge:
    """Ranks the hypotheses of a picture; the ranking depends on nothing but the picture.

    A picture that the judge was fitted to is judged by weights that were not fitted to it: captions of validation
    pictures are no better than those of new ones.

    Attributes:
      weights: of the F signals.
      halves: weights fitted to one half of the pictures each; see `half_of`.
      fitted: `content_number` of the pictures that they were fitted to.
      rarity: inverse document frequency in training of each word of the word-presence head, U of them.
      phrases: that people likely use of a picture.
      report: figures of the fit for people, as in `judge.json`.
    """

    weights: tuple[float, ...]
    halves: tuple[tuple[float, ...], tuple[float, ...]]
    fitted: frozenset[int]
    rarity: tuple[float, ...]
    phrases: PhraseHead = field(compare=False)
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """12 hex digits of everything that decides its output."""
        numbers = json.dumps([SIGNALS, self.weights, self.halves, sorted(self.fitted), self.rarity])
        return hashlib.sha256(numbers.encode() + self.phrases.fingerprint()).hexdigest()[:12]

    def rank(self, signals: np.ndarray, sha256: str | None = None) -> np.ndarray:
        """Ranks the hypotheses of a picture; among equals the likelier one comes first.

        Args:
          signals: of its K hypotheses, float64 [K, F].
          sha256: of the picture's content, in hex; None where it is not known.

        Returns:
          places of the hypotheses from the best on, int64 [K].
        """
        weights = self.weights
        if sha256 is not None and content_number(sha256) in self.fitted:
            weights = self.halves[1 - half_of(sha256)]
        return np.argsort(-(signals * np.array(weights)).sum(axis=1), kind="stable")

    def joined(self, others: Sequence[Judge]) -> Judge:
        """The judge of an ensemble: the mean of its captioners' judges."""
        every = (self, *others)
        first, second = (_mean([one.halves[half] for one in every]) for half in (0, 1))
        return replace(
            self,
            weights=_mean([one.weights for one in every]),
            halves=(first, second),
            fitted=frozenset().union(*(one.fitted for one in every)),
            phrases=self.phrases.joined([other.phrases for other in others]),
        )

    def save(self, directory: str, fitted_to: str) -> None:
        """Writes `judge.npz` and `judge.json` into a captioner directory, the judge's document last.

        Args:
          directory: of the captioner.
          fitted_to: id of the captioner whose hypotheses it was fitted to.
        """
        document = {"schema_version": SCHEMA_VERSION, "fitted_to": fitted_to, "signals": SIGNALS}
        document |= {"weights": self.weights, "halves": self.halves, "fitted": sorted(self.fitted)}
        document |= {"rarity": self.rarity, "phrases": self.phrases.phrases}
        document |= {"arrays_sha256": self.phrases.save(directory), **self.report}
        write_document(posixpath.join(directory, JUDGE), document)


def remove_judge(directory: str) -> None:
    """Removes the judge of a captioner directory, sound or damaged; there may be none."""
    remove(posixpath.join(directory, JUDGE))


def load_judge(directory: str, words: int, fitted_to: str) -> Judge | None:
    """Reads the judge of a captioner; None if it has none, or one that was fitted to another model.

    Args:
      directory: of the captioner.
      words: U, of its word-presence head.
      fitted_to: id of the captioner as it was loaded.

    Raises:
      UserError: the file is damaged, or of another schema version.
    """
    path = posixpath.join(directory, JUDGE)
    whole = read_document(path, dict[str, Any], _RENEW)
    if whole is None or whole.get("schema_version") == 1:  # an earlier judge knew no phrases
        return None
    document = read_document(path, _Document, _RENEW, SCHEMA_VERSION)
    if document is None or document.fitted_to != fitted_to:
        return None
    every = (document.weights, *document.halves)
    if document.signals != SIGNALS or any(len(weights) != len(SIGNALS) for weights in every):
        raise Damaged(path, f"damaged (signals {', '.join(document.signals)})", _RENEW)
    if len(document.rarity) != words:
        raise Damaged(path, f"damaged (does not fit {counted(words, 'word')})", _RENEW)
    report = {name: value for name, value in whole.items() if name not in _NOT_REPORT}
    phrases = load_phrases(directory, document.phrases, document.arrays_sha256, _RENEW)
    return Judge(document.weights, document.halves, frozenset(document.fitted), document.rarity, phrases, report)


def _mean(weights: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(np.mean(weights, axis=0).tolist())


@dataclass(frozen=True)
class JudgedWords:
    """What the signals need to know of the decoder's words.

    Attributes:
      places: of each in the word-presence head, int64 [V]; U for marks and for words that the head does not know.
      rarity: inverse document frequency of the head's words in training, float64 [U].
      phrases: that count.
    """

    places: np.ndarray
    rarity: np.ndarray
    phrases: PhraseAgreement

    def signals(self, ids: np.ndarray, scores: np.ndarray, presence: np.ndarray, phrases: np.ndarray) -> np.ndarray:
        """Computes the F signals of every hypothesis, in the order of `SIGNALS`.

        Args:
          ids: of the words, int32 [B, K, T], filled up with PAD after the end mark.
          scores: mean log-probability of the words, float32 [B, K].
          presence: of the head's words, float32 [B, U].
          phrases: presence of the phrases, float32 [B, G].

        Returns:
          float64 [B, K, F]:
          score: as given.
          words: how many there are.
          agreement, coverage: as in `Confidence.signals`.
          presence, least_presence: mean and least log-presence of its words.
          unsaid: presence, weighted by rarity, of the likeliest words that it leaves unsaid.
          consensus: share of its n-grams that the other hypotheses have, on average.
          repeated: words that it says more than once, weighted by rarity.
          phrases: as in `PhraseAgreement`.
        """
        words = (ids != PAD) & (ids != END)
        places = np.where(words, self.places[ids], len(self.rarity))
        again = is_repeated(ids)
        known = (places < len(self.rarity)) & ~again
        rarity = np.append(self.rarity, 0.0)
        likely = at_places(presence.astype(np.float64), places)
        weights = rarity[places]
        said = np.where(known, weights, 0.0)
        weighted = presence * self.rarity  # [B, U]
        length = np.sqrt((said * said).sum(axis=2)) * np.linalg.norm(weighted, axis=1)[:, None]
        agreement = (said * said * likely).sum(axis=2) / np.maximum(length, TINY)
        coverage = (said * likely).sum(axis=2) / np.maximum(weighted.sum(axis=1)[:, None], TINY)
        logs = np.where(known, np.log(np.maximum(likely, ABSENT)), 0.0)
        foremost = np.argsort(-weighted, axis=1, kind="stable")[:, :_FOREMOST]  # (B, 5)
        is_said = (places[..., None] == foremost[:, None, None]).any(axis=2)  # (B, K, 5)
        unsaid = (np.take_along_axis(weighted, foremost, axis=1)[:, None] * ~is_said).sum(axis=2)
        each = (
            scores.astype(np.float64),
            words.sum(axis=2),
            agreement,
            coverage,
            logs.sum(axis=2) / np.maximum(known.sum(axis=2), 1),
            logs.min(axis=2),
            unsaid,
            _consensus(ids),
            np.where(again & words, weights, 0.0).sum(axis=2),
            self.phrases(ids, phrases),
        )
        return np.stack(each, axis=2).astype(np.float64)


def _consensus(ids: np.ndarray) -> np.ndarray:
    """Mean share of the n-grams of a hypothesis that another hypothesis has: ids [B, K, T] -> float64 [B, K]."""
    hypotheses = ids.shape[1]
    same = ids[:, :, None, :, None] == ids[:, None, :, None, :]  # (B, K, K, T, T)
    real = ids != PAD
    same &= real[:, :, None, :, None]
    others = ~np.eye(hypotheses, dtype=bool)
    total = np.zeros(ids.shape[:2])
    grams = same
    for order in range(1, ORDERS + 1):
        if order > 1:  # grams that end one word later on both sides
            grams = grams[..., :-1, :-1] & same[..., order - 1 :, order - 1 :]
        shared = grams.any(axis=4).sum(axis=3)  # (B, K, K)
        possible = np.maximum(real[..., order - 1 :].sum(axis=2), 1)
        total += (shared * others).sum(axis=2) / possible
    return total / (ORDERS * max(hypotheses - 1, 1))
