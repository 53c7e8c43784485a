"""Fits a captioner's judge to the hypotheses of validation pictures.

The captioner must not have seen the pictures: it knows its training pictures by heart, so that of their hypotheses the
likeliest is the best, which teaches nothing about new pictures. A judge of one half of the validation pictures judges
the other half, as for the confidence.

Letters: K hypotheses of a picture, F signals.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from training.data.dataset import DescribedPicture, encode_caption
from training.decoding.decoder import CaptionDecoder
from training.fitting.self_critical import CiderReward
from training.models.captioner import Captioner
from training.models.confidence import content_number, half_of
from training.models.judge import SIGNALS, Judge
from training.models.phrases import PhraseHead
from training.models.presence import TINY
from training.text.plurals import counted
from training.text.vocabulary import PAD

log = logging.getLogger("captionbeam")

PICTURES = 4096  # validation pictures whose hypotheses are judged, at most
LEAST_PICTURES = 100  # with fewer there is no telling which hypothesis is better
_PENALTY = 300.0  # on the squared weights of standardized signals


def fit_judge(
    captioner: Captioner,
    pictures: Iterable[tuple[DescribedPicture, np.ndarray]],
    reward: CiderReward,
    rarity: np.ndarray,
    phrases: PhraseHead,
) -> Judge | None:
    """Fits the judge of a trained captioner at the default settings of decoding.

    Args:
      captioner: with a word-presence head.
      pictures: validation pictures and their features, float16 [P, C] or [C]; those without a caption do not count.
      reward: of hypotheses.
      rarity: inverse document frequency of the head's words, float32 [U].
      phrases: that people likely use of a picture.

    Returns:
      the judge; None with fewer than `LEAST_PICTURES` pictures to fit it to.

    Raises:
      JobFailed: a shard is damaged.
    """
    described = islice(((picture, feature) for picture, feature in pictures if picture.captions), PICTURES)
    nothing = (0.0,) * len(SIGNALS)
    judge = Judge(nothing, (nothing, nothing), frozenset(), _numbers(rarity), phrases)
    judged = list(_hypotheses(replace(captioner, confidence=None, judge=judge), described, reward))
    half = np.array([half_of(sha256) for sha256, *_ in judged])
    if len(judged) < LEAST_PICTURES or len(set(half.tolist())) < 2:
        log_too_few(len(judged))
        return None
    parts = [(signals, rewards) for _, signals, rewards in judged]
    first, second = (_fitted([part for part, its in zip(parts, half, strict=True) if its == side]) for side in (0, 1))
    held_out = [
        rewards[np.argmax(signals @ (second, first)[its])] for (signals, rewards), its in zip(parts, half, strict=True)
    ]
    measured = {
        "chosen": float(np.mean(held_out)),
        "likeliest": float(np.mean([rewards[0] for _, rewards in parts])),
        "best": float(np.mean([rewards.max() for _, rewards in parts])),
    }
    log.info(
        "judge: %s; mean CIDEr of the chosen hypotheses %.1f, cross-validated, of the likeliest %.1f, of the best %.1f",
        counted(len(parts), "validation picture"),
        *(100 * value for value in measured.values()),
    )
    return replace(
        judge,
        weights=_numbers(_fitted(parts)),
        halves=(_numbers(first), _numbers(second)),
        fitted=frozenset(content_number(sha256) for sha256, *_ in judged),
        report={"pictures": len(parts), "cross_validated": {name: round(value, 4) for name, value in measured.items()}},
    )


def log_too_few(pictures: int) -> None:
    """Says that there is no judge, for want of validation pictures."""
    log.info("judge: none, %s, %s needed", counted(pictures, "validation picture"), LEAST_PICTURES)


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


def _hypotheses(
    captioner: Captioner, described: Iterator[tuple[DescribedPicture, np.ndarray]], reward: CiderReward
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """sha256 of each picture, and signals float64 [K, F] and rewards float64 [K] of its hypotheses."""
    decoder = CaptionDecoder(captioner)
    while batch := list(islice(described, decoder.batch_size)):
        for hypotheses in decoder.hypotheses(np.stack([feature for _, feature in batch])):
            for (picture, _), ids, ended, signals in zip(batch, *hypotheses, strict=True):
                if ended.any():
                    references = [
                        encode_caption(text, captioner.vocabulary, captioner.max_words) for text in picture.captions
                    ]
                    rewards = reward.of([row[row != PAD].tolist() for row in ids[ended]], references)
                    yield picture.sha256, signals[ended], np.array(rewards)
    decoder.close()


def _fitted(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Signals [K, F] and rewards [K] of each picture -> weights of the signals, float64 [F], by ridge regression.

    Only what differs between the hypotheses of a picture counts: their means are taken away.
    """
    signals = np.concatenate([values - values.mean(axis=0) for values, _ in parts])
    rewards = np.concatenate([values - values.mean() for _, values in parts])
    spread = signals.std(axis=0) + TINY
    standardized = signals / spread
    normal = standardized.T @ standardized + _PENALTY * np.eye(signals.shape[1])
    return np.linalg.solve(normal, standardized.T @ rewards) / spread
