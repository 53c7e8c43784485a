"""Fits what judges a captioner's captions: training pictures say what is familiar, dev pictures what is accepted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from training.data.dataset import DescribedPicture, described_pictures, pictures_of
from training.data.feature_set import FeatureSet
from training.data.splits import DEV, TRAIN, Split
from training.decoding.decoder import CaptionDecoder, Hypothesis
from training.models.calibration import figures, fit_calibration, in_words, ranking
from training.models.captioner import Captioner
from training.models.confidence import FAMILIARITY, SIGNALS, Confidence, content_number, fingerprints, half_of
from training.models.familiarity import fit_familiarity, looks_of, with_limit
from training.options import BEAM_WIDTH
from training.scoring.acceptance import acceptance
from training.text.word_counts import WordCounts

log = logging.getLogger("captionbeam")

PICTURES = 4096  # dev pictures that are captioned, at most
LEAST_PICTURES = 30  # fewer say nothing of a probability


def fit_confidence(captioner: Captioner, features: FeatureSet, split: Split, counts: WordCounts) -> Confidence:
    """A trained captioner with a word-presence head -> what judges its captions at the default settings.

    Args:
      counts: of the training captions.

    Raises:
      JobFailed: a shard is damaged.
    """
    head = captioner.presence
    assert head is not None

    def of(part: int) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
        return pictures_of(features, lambda sha256, uris: split.of(sha256, uris) == part)

    training, judging = _captions_of(features, split)
    known = Confidence(
        head.words,
        word_weights(head.words, counts),
        fingerprints(training),
        np.zeros(0, np.uint64),
        fit_familiarity(feature for _, feature in of(TRAIN)),
    )
    dev = islice(of(DEV), PICTURES)
    if len(judging) < LEAST_PICTURES or len(set(map(half_of, judging))) < 2:
        why = f"{len(judging)} dev pictures have two captions or more, and it takes {LEAST_PICTURES}"
        log.info("confidence: not calibrated, %s", why)
        familiarity = with_limit(known.familiarity, map(known.familiarity.distance, _looks(dev)))
        return replace(known, familiarity=familiarity, report={"why_not": why})
    decoder = CaptionDecoder(replace(captioner, confidence=known), beam_width=BEAM_WIDTH)
    captioned = [(picture, hypothesis) for picture, hypothesis, *_ in decoder.decode_pictures(dev)]
    decoder.close()
    distances = (-hypothesis.signals[FAMILIARITY] for _, hypothesis in captioned)
    return _calibrated(replace(known, familiarity=with_limit(known.familiarity, distances)), captioned)


def _looks(pictures: Iterator[tuple[DescribedPicture, np.ndarray]]) -> Iterator[np.ndarray]:
    return looks_of(feature for _, feature in pictures)


def word_weights(words: tuple[str, ...], counts: WordCounts) -> np.ndarray:
    """Words -> float32 [V], as CIDEr weighs them: the logarithm of pictures over pictures that have the word."""
    having = np.array([counts.in_pictures[word] for word in words])
    return np.log(max(counts.pictures, 1) / np.maximum(having, 1)).astype(np.float32)


def _captions_of(features: FeatureSet, split: Split) -> tuple[list[str], list[str]]:
    """The training captions, and the sha256 of dev pictures with two captions or more; without reading a feature."""
    training, judging = [], []
    for path in features.shard_paths():
        for sha256, uris, captions in described_pictures(path):
            part = split.of(sha256, uris)
            if part == TRAIN:
                training += captions
            elif part == DEV and len(captions) > 1:
                judging.append(sha256)
    return training, judging


def _calibrated(confidence: Confidence, captioned: list[tuple[DescribedPicture, Hypothesis]]) -> Confidence:
    """Adds the regression, fitted to all pictures, and those of the two halves, by which it is judged."""
    found = acceptance(
        {picture.sha256: hypothesis.caption for picture, hypothesis in captioned},
        {picture.sha256: picture.captions for picture, _ in captioned},
    )
    assert found is not None
    signals_of = {picture.sha256: hypothesis.signals for picture, hypothesis in captioned}
    signals = np.array([signals_of[sha256] for sha256 in found.pictures], np.float64)
    accepted = found.accepted
    half = np.array([half_of(sha256) for sha256 in found.pictures])
    first, second = (fit_calibration(signals[half == side], accepted[half == side]) for side in (0, 1))
    judge = replace(
        confidence,
        fitted=np.array(sorted(map(content_number, found.pictures)), np.uint64),
        calibrations=(fit_calibration(signals, accepted),),
        halves=((first, second),),
    )
    held_out = [judge.probability(row, side) for row, side in zip(signals, half.tolist(), strict=True)]
    measured = figures(np.array(held_out, np.float64), accepted)
    by_score = ranking(signals[:, SIGNALS.index("score")], accepted)
    measured["ranking_by_score"] = None if by_score is None else round(by_score, 4)
    log.info("confidence: %d dev pictures; cross-validated, %s", len(accepted), in_words(measured))
    report = {
        "event": found.event(),
        "pictures": len(found.pictures),
        "cross_validated": measured,
    }
    return replace(judge, report=report)
