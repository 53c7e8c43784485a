"""Fits a captioner's confidence: its familiarity to training pictures, its regression to validation pictures."""

from __future__ import annotations

import logging
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
from training.models.familiarity import fit_familiarity, pooled_features_of, with_limit
from training.scoring.acceptance import acceptance
from training.text.plurals import counted
from training.text.word_counts import WordCounts

log = logging.getLogger("captionbeam")

PICTURES = 4096  # validation pictures that are captioned, at most
LEAST_PICTURES = 30  # with fewer there is no telling a probability


def fit_confidence(captioner: Captioner, features: FeatureSet, split: Split, counts: WordCounts) -> Confidence:
    """Fits the confidence of a trained captioner at the default settings of decoding.

    Args:
      captioner: with a word-presence head.
      features: feature set that it was trained on.
      split: which of the pictures train.
      counts: words of the training captions.

    Raises:
      JobFailed: a shard is damaged.
    """
    head = captioner.presence
    assert head is not None

    training, described = _captions_of(features, split)
    confidence = Confidence(
        head.words,
        word_weights(head.words, counts),
        fingerprints(training),
        np.zeros(0, np.uint64),
        fit_familiarity(feature for _, feature in pictures_of(features, split.selects(TRAIN))),
    )
    dev = islice(pictures_of(features, split.selects(DEV)), PICTURES)
    familiarity = confidence.familiarity
    if len(described) < LEAST_PICTURES or len(set(map(half_of, described))) < 2:
        why = f"{counted(len(described), 'validation picture')} with two captions or more, {LEAST_PICTURES} needed"
        log.info("confidence: not calibrated, %s", why)
        held_out = map(familiarity.distance, pooled_features_of(feature for _, feature in dev))
        return replace(confidence, familiarity=with_limit(familiarity, held_out), report={"why_not": why})
    decoder = CaptionDecoder(replace(captioner, confidence=confidence))
    captioned = [(picture, hypothesis) for picture, hypothesis, *_ in decoder.decode_pictures(dev)]
    decoder.close()
    distances = (-hypothesis.signals[FAMILIARITY] for _, hypothesis in captioned)
    return _calibrated(replace(confidence, familiarity=with_limit(familiarity, distances)), captioned)


def word_weights(words: tuple[str, ...], counts: WordCounts) -> np.ndarray:
    """Inverse document frequencies as in CIDEr, float32 [V]: log(training pictures / those of which a caption has the
    word).

    Args:
      words: V of them.
      counts: words of the training captions.
    """
    pictures = np.array([counts.in_pictures[word] for word in words])
    return np.log(max(counts.pictures, 1) / np.maximum(pictures, 1)).astype(np.float32)


def _captions_of(features: FeatureSet, split: Split) -> tuple[list[str], list[str]]:
    """The training captions, and the sha256 of validation pictures with two captions or more; reads no feature."""
    training: list[str] = []
    described: list[str] = []
    for path in features.shard_paths():
        for sha256, uris, captions in described_pictures(path):
            part = split.of(sha256, uris)
            if part == TRAIN:
                training += captions
            elif part == DEV and len(captions) > 1:
                described.append(sha256)
    return training, described


def _calibrated(confidence: Confidence, captioned: list[tuple[DescribedPicture, Hypothesis]]) -> Confidence:
    """Adds the regression fitted to all pictures, and those of the two halves, which cross-validate it."""
    outcome = acceptance(
        {picture.sha256: hypothesis.caption for picture, hypothesis in captioned},
        {picture.sha256: picture.captions for picture, _ in captioned},
    )
    assert outcome is not None
    signals_of = {picture.sha256: hypothesis.signals for picture, hypothesis in captioned}
    signals = np.array([signals_of[sha256] for sha256 in outcome.pictures], np.float64)
    accepted = outcome.accepted
    half = np.array([half_of(sha256) for sha256 in outcome.pictures])
    first, second = (fit_calibration(signals[half == side], accepted[half == side]) for side in (0, 1))
    calibrated = replace(
        confidence,
        fitted=np.array(sorted(map(content_number, outcome.pictures)), np.uint64),
        calibrations=(fit_calibration(signals, accepted),),
        halves=((first, second),),
    )
    held_out = [calibrated.probability(row, side) for row, side in zip(signals, half.tolist(), strict=True)]
    measured = figures(np.array(held_out, np.float64), accepted)
    by_score = ranking(signals[:, SIGNALS.index("score")], accepted)
    measured["ranking_by_score"] = None if by_score is None else round(by_score, 4)
    pictures = counted(len(accepted), "validation picture")
    log.info("confidence: %s; cross-validated: %s", pictures, in_words(measured))
    report = {
        "event": outcome.event(),
        "pictures": len(outcome.pictures),
        "cross_validated": measured,
    }
    return replace(calibrated, report=report)
