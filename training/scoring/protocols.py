"""Scores of the same captions under the evaluation protocols that papers and tutorials use, side by side.

The protocols answer different questions, so their numbers cannot be compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from training.scoring.scores import (
    NGRAMS,
    CaptionSet,
    Statistics,
    TokenizedCaptions,
    bleu_of,
    bleu_statistics,
    scores_of,
    statistics_of,
)

END_WORD = "endseq"
_NLTK_EPSILON = 0.1  # NLTK's SmoothingFunction().method1

COCO = "COCO (the scores above)"
END_COUNTED = "end mark counted as a word"
FIRST_REFERENCE = "first reference only"
WITHOUT_A = 'word "a" removed'
NO_BREVITY_PENALTY = "no brevity penalty"
SENTENCE_MEAN = "mean of smoothed sentence BLEU"


def protocol_scores(row: CaptionSet) -> dict[str, dict[str, float]]:
    """Captions and references -> {protocol: {metric: score}}; CIDEr is 0 to 10, the others 0 to 1.

    - `END_COUNTED`: captions and references end with a word that always matches, as if the end mark of training were
      left in.
    - `FIRST_REFERENCE`: the first reference of each picture in place of all.
    - `WITHOUT_A`: "a" removed from both sides, as in tutorials that drop one-letter words; pictures of which nothing is
      left are left out.
    - `NO_BREVITY_PENALTY`: precisions alone; BLEU only.
    - `SENTENCE_MEAN`: mean of the BLEU of each caption, with 0.1 in place of zero matches: NLTK's `sentence_bleu` with
      `method1`. BLEU only.
    """
    bleu = Statistics(tuple(f"BLEU-{n + 1}" for n in range(NGRAMS)), bleu_statistics(row), bleu_of)
    sentences = sentence_bleu(bleu.values).mean(axis=0)
    return {
        COCO: scores_of(statistics_of(row)),
        END_COUNTED: _rewritten(row, lambda text: f"{text} {END_WORD}".lstrip()),
        FIRST_REFERENCE: scores_of(
            statistics_of(CaptionSet(row.hypotheses, {name: texts[:1] for name, texts in row.references.items()}))
        ),
        WITHOUT_A: _rewritten(row, lambda text: " ".join(word for word in text.split() if word != "a")),
        NO_BREVITY_PENALTY: scores_of([Statistics(bleu.names, bleu.values, partial(bleu_of, brevity_penalty=False))]),
        SENTENCE_MEAN: dict(zip(bleu.names, map(float, sentences), strict=True)),
    }


def sentence_bleu(statistics: np.ndarray) -> np.ndarray:
    """`bleu_statistics` of each picture, float64 [N, 10] -> NLTK's smoothed BLEU-1 to 4 of each, float64 [N, 4]."""
    matches, grams = statistics[:, :NGRAMS], statistics[:, NGRAMS : 2 * NGRAMS]
    words, closest = statistics[:, -2:-1], statistics[:, -1:]
    precisions = np.where(matches > 0, matches, _NLTK_EPSILON) / np.maximum(grams, 1)
    bleu = np.cumprod(precisions, axis=1) ** (1 / np.arange(1, NGRAMS + 1))
    brevity = np.exp(np.minimum(0.0, 1 - closest / np.maximum(words, 1)))
    return np.where(matches[:, :1] > 0, bleu * brevity, 0.0)  # NLTK gives 0 if no word matches


def _rewritten(row: CaptionSet, rewrite: Callable[[str], str]) -> dict[str, float]:
    def each(captions: TokenizedCaptions) -> TokenizedCaptions:
        return {name: [text for text in map(rewrite, texts) if text] for name, texts in captions.items()}

    hypotheses, references = each(row.hypotheses), each(row.references)
    scored = [name for name in hypotheses if hypotheses[name] and references[name]]
    if not scored:
        return {}
    kept = CaptionSet({name: hypotheses[name] for name in scored}, {name: references[name] for name in scored})
    return scores_of(statistics_of(kept))
