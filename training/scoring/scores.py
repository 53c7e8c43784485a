"""Scores of captions by the COCO protocol (Chen et al. 2015), with bootstrap intervals over the pictures.

Each metric is kept as statistics of every picture and a function of their sums. So a bootstrap (Efron and Tibshirani
1993, "An introduction to the bootstrap"), which resamples the pictures, is one matrix product.

Letters: N pictures, S statistics of a metric, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.text.tokenizer import tokenize

Captions = Mapping[str, str]  # picture -> generated caption
References = Mapping[str, Sequence[str]]  # picture -> captions by people
TokenizedCaptions = dict[
    str, list[str]
]  # picture -> captions, each its tokens joined by spaces: what pycocoevalcap's scorers take

NGRAMS = 4
RESAMPLES = 1000
SEED = 0
LEVEL = 0.95
_DRAWN_AT_ONCE = 1 << 22  # pictures drawn in one block of resamples: 32 MiB, whatever the number of pictures

ONE_PICTURE_HAS_NO_CIDER = "it weights words by how few of the scored pictures use them, so one picture has no CIDEr"


@dataclass(frozen=True)
class CaptionSet:
    """Captions to score, one per picture, and the references of the same pictures.

    Attributes:
      hypotheses: picture -> a list of one caption.
      references: picture -> captions by people.
    """

    hypotheses: TokenizedCaptions
    references: TokenizedCaptions


@dataclass(frozen=True)
class Statistics:
    """Statistics of each picture for one metric, or for several that share them.

    Attributes:
      names: of the metrics, in order.
      values: float64 [N, S].
      metric: sums of `values` over pictures, float64 [..., S] -> scores, float64 [..., len(names)].
    """

    names: tuple[str, ...]
    values: np.ndarray
    metric: Callable[[np.ndarray], np.ndarray]


def tokenized(captions: References) -> TokenizedCaptions:
    """Captions of pictures -> the same as tokens joined by spaces, pictures in the order of their names."""
    return {name: [" ".join(tokenize(text)) for text in captions[name]] for name in sorted(captions)}


def caption_set(generated: Captions, references: References) -> CaptionSet:
    """One caption per picture, and references -> CaptionSet; references of other pictures are left out."""
    return CaptionSet(
        tokenized({name: [text] for name, text in generated.items()}),
        tokenized({name: references[name] for name in generated}),
    )


def statistics_of(row: CaptionSet) -> list[Statistics]:
    """Statistics of BLEU-1 to 4 (Papineni et al. 2002), ROUGE-L (Lin 2004) and, for two pictures or more, CIDEr-D
    (Vedantam et al. 2015), as pycocoevalcap counts them.

    Args:
      row: captions to score.
    """
    from pycocoevalcap.rouge.rouge import Rouge

    _, rouge = Rouge().compute_score(row.references, row.hypotheses)
    statistics = [
        Statistics(tuple(f"BLEU-{n + 1}" for n in range(NGRAMS)), bleu_statistics(row), bleu_of),
        mean_statistics("ROUGE-L", rouge),
    ]
    if len(row.hypotheses) > 1:
        statistics.append(mean_statistics("CIDEr", cider_of_pictures(row)))
    return statistics


def scores_of(statistics: Sequence[Statistics]) -> dict[str, float]:
    """Statistics -> {metric: score of all pictures}; CIDEr is 0 to 10, the others 0 to 1."""
    return {
        name: float(value)
        for one in statistics
        for name, value in zip(one.names, one.metric(one.values.sum(axis=0)), strict=True)
    }


def intervals_of(
    statistics: Sequence[Statistics], resamples: int = RESAMPLES, seed: int = SEED, level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals over the pictures.

    CIDEr's document frequencies stay those of the whole set: a resample weights the scores of pictures, not words. Sets
    of equally many pictures are resampled alike.

    Args:
      statistics: of the same pictures.
      resamples: R.
      seed: of the resamples.
      level: of confidence, 0 to 1.

    Returns:
      {metric: (low, high)}; empty for a single picture.
    """
    pictures = len(statistics[0].values)
    if pictures < 2:
        return {}
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWN_AT_ONCE // pictures)
    drawn: list[list[np.ndarray]] = [[] for _ in statistics]
    for begin in range(0, resamples, block):
        times = _times_drawn(generator, min(block, resamples - begin), pictures)
        for one, samples in zip(statistics, drawn, strict=True):
            samples.append(one.metric(times @ one.values))
    tail = 50 * (1 - level)
    intervals: dict[str, tuple[float, float]] = {}
    for one, samples in zip(statistics, drawn, strict=True):
        low, high = np.percentile(np.concatenate(samples), [tail, 100 - tail], axis=0)
        intervals |= {name: (float(begin), float(end)) for name, begin, end in zip(one.names, low, high, strict=True)}
    return intervals


def _times_drawn(generator: np.random.Generator, resamples: int, pictures: int) -> np.ndarray:
    """How often each picture is in each resample, float64 [R, N]; rows sum to N."""
    chosen = generator.integers(pictures, size=(resamples, pictures))
    chosen += pictures * np.arange(resamples)[:, None]
    return np.bincount(chosen.ravel(), minlength=resamples * pictures).reshape(resamples, pictures).astype(np.float64)


def bleu_statistics(row: CaptionSet) -> np.ndarray:
    """Statistics of BLEU, float64 [N, 10]: clipped matches of n-grams for n = 1 to 4, n-grams of the caption, its
    words, words of the reference that is closest in length.
    """
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    rows = []
    for name, (hypothesis,) in row.hypotheses.items():
        counts = cook_test(hypothesis, cook_refs(row.references[name], n=NGRAMS), eff="closest", n=NGRAMS)
        rows.append([*counts["correct"], *counts["guess"], counts["testlen"], counts["reflen"]])
    return np.array(rows, np.float64)


def bleu_of(sums: np.ndarray, brevity_penalty: bool = True) -> np.ndarray:
    """Corpus BLEU-1 to 4 (Papineni et al. 2002), float64 [..., 4].

    Two small numbers of pycocoevalcap make the results equal to its.

    Args:
      sums: of `bleu_statistics` over pictures, float64 [..., 10].
      brevity_penalty: whether captions shorter than their references are penalized.
    """
    small, tiny = 1e-9, 1e-15
    precisions = (sums[..., :NGRAMS] + tiny) / (sums[..., NGRAMS : 2 * NGRAMS] + small)
    bleu = np.cumprod(precisions, axis=-1) ** (1 / np.arange(1, NGRAMS + 1))
    if not brevity_penalty:
        return bleu
    ratio = (sums[..., -2:-1] + tiny) / (sums[..., -1:] + small)
    return bleu * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def mean_statistics(name: str, scores: Sequence[float] | np.ndarray) -> Statistics:
    """Name and scores of pictures, float [N] -> Statistics of the metric that is their mean."""
    values = np.stack([np.asarray(scores, np.float64), np.ones(len(scores))], axis=1)
    return Statistics((name,), values, lambda sums: sums[..., :1] / sums[..., 1:])


def cider_of_pictures(row: CaptionSet) -> np.ndarray:
    """CIDEr-D (Vedantam et al. 2015) of each picture, float64 [N], 0 to 10."""
    from pycocoevalcap.cider.cider import Cider

    return Cider().compute_score(row.references, row.hypotheses)[1]


def cider(generated: Captions, references: References) -> float | None:
    """CIDEr-D (Vedantam et al. 2015) of all pictures, 0 to 10; None for a single picture, where it is undefined."""
    if len(generated) < 2:
        return None
    return float(cider_of_pictures(caption_set(generated, references)).mean())
