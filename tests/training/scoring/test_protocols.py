import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu

from training.scoring.protocols import (
    COCO,
    END_COUNTED,
    FIRST_REFERENCE,
    NO_BREVITY_PENALTY,
    SENTENCE_MEAN,
    WITHOUT_A,
    protocol_scores,
    sentence_bleu,
)
from training.scoring.scores import CaptionSet, bleu_statistics, scores_of, statistics_of

ROW = CaptionSet(
    {"a.jpg": ["a dog runs"], "b.jpg": ["two children in a park"]},
    {"a.jpg": ["a dog runs on a beach", "a dog"], "b.jpg": ["children with a ball in a park"]},
)

texts = st.lists(st.sampled_from(["a", "dog", "runs", "on", "sand"]), max_size=8)


def test_each_protocol_scores_the_captions_it_says():
    found = protocol_scores(ROW)
    assert list(found) == [COCO, END_COUNTED, FIRST_REFERENCE, WITHOUT_A, NO_BREVITY_PENALTY, SENTENCE_MEAN]
    assert found[COCO] == scores_of(statistics_of(ROW))
    ended = CaptionSet(
        {"a.jpg": ["a dog runs endseq"], "b.jpg": ["two children in a park endseq"]},
        {
            "a.jpg": ["a dog runs on a beach endseq", "a dog endseq"],
            "b.jpg": ["children with a ball in a park endseq"],
        },
    )
    assert found[END_COUNTED] == scores_of(statistics_of(ended))
    first = CaptionSet(ROW.hypotheses, {**ROW.references, "a.jpg": ["a dog runs on a beach"]})
    assert found[FIRST_REFERENCE] == scores_of(statistics_of(first))
    without = CaptionSet(
        {"a.jpg": ["dog runs"], "b.jpg": ["two children in park"]},
        {"a.jpg": ["dog runs on beach", "dog"], "b.jpg": ["children with ball in park"]},
    )
    assert found[WITHOUT_A] == scores_of(statistics_of(without))
    assert found[COCO].keys() > found[NO_BREVITY_PENALTY].keys() == found[SENTENCE_MEAN].keys()


def test_no_brevity_penalty_leaves_the_precisions():
    row = CaptionSet({"a.jpg": ["a dog"], "b.jpg": ["sand"]}, {"a.jpg": ["a dog runs on sand"], "b.jpg": ["the sand"]})
    found = protocol_scores(row)
    assert found[NO_BREVITY_PENALTY]["BLEU-1"] == pytest.approx(1)
    assert found[COCO]["BLEU-1"] == pytest.approx(math.exp(1 - 7 / 3))
    # Penalty of either caption by itself, then the mean.
    assert found[SENTENCE_MEAN]["BLEU-1"] == pytest.approx((math.exp(1 - 5 / 2) + math.exp(1 - 2)) / 2)


def test_one_picture_has_protocols_without_cider():
    row = CaptionSet({"a.jpg": ["a dog"]}, {"a.jpg": ["a dog"]})
    assert all("CIDEr" not in scores for scores in protocol_scores(row).values())


def nltk_sentence_bleu(hypothesis: list[str], references: list[list[str]], n: int) -> float:
    """NLTK 3's sentence_bleu with equal weights and SmoothingFunction().method1, written out."""

    def ngrams(words, order):
        return Counter(tuple(words[begin : begin + order]) for begin in range(len(words) - order + 1))

    logarithms = []
    for order in range(1, n + 1):
        said = ngrams(hypothesis, order)
        matched = sum(min(count, max(ngrams(r, order)[gram] for r in references)) for gram, count in said.items())
        if order == 1 and not matched:
            return 0.0
        logarithms.append(math.log((matched or 0.1) / max(1, sum(said.values()))))
    closest = min((len(r) for r in references), key=lambda length: (abs(length - len(hypothesis)), length))
    penalty = 1 if len(hypothesis) > closest else math.exp(1 - closest / len(hypothesis))
    return penalty * math.exp(math.fsum(logarithms) / n)


@given(texts, st.lists(texts, min_size=1, max_size=3))
def test_sentence_bleu_is_nltks(hypothesis, references):
    row = CaptionSet({"a.jpg": [" ".join(hypothesis)]}, {"a.jpg": [" ".join(words) for words in references]})
    found = sentence_bleu(bleu_statistics(row))
    expected = [nltk_sentence_bleu(hypothesis, references, n) for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [expected], rtol=1e-9)


def test_sentence_bleu_of_a_perfect_caption_is_one_as_is_the_corpus_one():
    row = CaptionSet({"a.jpg": ["a dog runs on sand"]}, {"a.jpg": ["a dog runs on sand"]})
    assert sentence_bleu(bleu_statistics(row))[0] == pytest.approx([1, 1, 1, 1])
    assert Bleu(4).compute_score(row.references, row.hypotheses, verbose=0)[0] == pytest.approx([1, 1, 1, 1])
