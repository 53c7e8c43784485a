import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from training.scoring.scores import (
    CaptionSet,
    Statistics,
    _times_drawn,
    bleu_of,
    bleu_statistics,
    caption_set,
    cider,
    intervals_of,
    mean_statistics,
    scores_of,
    statistics_of,
    tokenized,
)

REFERENCES = {
    "a.jpg": ["a dog runs on the beach", "the dog is running over sand", "a brown dog by the sea"],
    "b.jpg": ["two children play football", "children with a ball in a park"],
    "c.jpg": ["a man rides a red bicycle down the street"],
}
GENERATED = {
    "a.jpg": "a dog runs over the beach",
    "b.jpg": "two children in a park",
    "c.jpg": "a man on a street",
}

texts = st.lists(st.sampled_from(["a", "dog", "runs", "on", "sand"]), max_size=8).map(" ".join)
pictures = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=5)


def scored(generated, references):
    return scores_of(statistics_of(caption_set(generated, references)))


def row_of(drawn) -> CaptionSet:
    """(caption, references) pairs -> CaptionSet; the same pair may come twice."""
    names = [f"{number:02}" for number in range(len(drawn))]
    return CaptionSet(
        {name: [hypothesis] for name, (hypothesis, _) in zip(names, drawn, strict=True)},
        {name: references for name, (_, references) in zip(names, drawn, strict=True)},
    )


def corpus_bleu(row: CaptionSet) -> list[float]:
    return Bleu(4).compute_score(row.references, row.hypotheses, verbose=0)[0]


def test_scores_are_what_pycocoevalcap_gives_for_the_same_tokens():
    hypotheses = {name: [text] for name, text in GENERATED.items()}
    bleu, _ = Bleu(4).compute_score(REFERENCES, hypotheses, verbose=0)
    expected = {
        **{f"BLEU-{n}": pytest.approx(value, rel=1e-12) for n, value in enumerate(bleu, start=1)},
        "ROUGE-L": pytest.approx(Rouge().compute_score(REFERENCES, hypotheses)[0], rel=1e-12),
        "CIDEr": pytest.approx(Cider().compute_score(REFERENCES, hypotheses)[0], rel=1e-12),
    }
    assert 0 < bleu[3] < bleu[0] < 1
    assert scored(GENERATED, REFERENCES) == expected


def test_perfect_captions_score_one_and_worse_ones_less():
    perfect = scored({name: texts[-1] for name, texts in REFERENCES.items()}, REFERENCES)
    assert perfect["BLEU-4"] == pytest.approx(1) and perfect["ROUGE-L"] == pytest.approx(1)
    assert perfect["CIDEr"] > scored(GENERATED, REFERENCES)["CIDEr"] > 0


def test_one_picture_has_no_cider_and_two_have():
    five = ["a dog runs on the beach", "the dog runs", "a brown dog", "sand and a dog", "a dog by the sea"]
    one = scored({"a.jpg": five[0]}, {"a.jpg": five})
    assert one["BLEU-4"] == pytest.approx(1) and one["ROUGE-L"] == pytest.approx(1) and "CIDEr" not in one
    assert cider({"a.jpg": five[0]}, {"a.jpg": five}) is None
    two = {"a.jpg": five[0], "b.jpg": GENERATED["b.jpg"]}, {"a.jpg": five, "b.jpg": REFERENCES["b.jpg"]}
    assert cider(*two) == pytest.approx(scored(*two)["CIDEr"]) and cider(*two) > 0


@pytest.mark.parametrize(
    "text",
    [
        "a black-and-white dog, running",
        "A black-and-white dog, running.",
        "a black and white dog running",
        "the man's T-shirt doesn't fit: it's (too) small!",
    ],
)
def test_a_text_against_itself_scores_one_in_every_form(text):
    assert scored({"a.jpg": text}, {"a.jpg": [text]}) == {
        name: pytest.approx(1) for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L")
    }


def test_commas_and_capitals_change_no_score_and_hyphens_join_words():
    def bleu_4(text):
        return scored({"a.jpg": "a black-and-white dog, running"}, {"a.jpg": [text]})["BLEU-4"]

    assert bleu_4("A black-and-white dog running .") == pytest.approx(1)
    assert bleu_4("a black and white dog running") < 0.1


def test_a_caption_without_words_scores_low_and_stops_nothing():
    scores = scored({**GENERATED, "c.jpg": ""}, {**REFERENCES, "c.jpg": [".", "a man"]})
    assert 0 < scores["BLEU-1"] < 1 and np.isfinite(scores["CIDEr"])


def test_references_of_pictures_without_a_caption_are_left_out_and_names_are_in_order():
    row = caption_set({"b.jpg": "Two dogs.", "a.jpg": "a cat"}, {**REFERENCES, "b.jpg": ["Dogs!"]})
    assert list(row.hypotheses.items()) == [("a.jpg", ["a cat"]), ("b.jpg", ["two dogs"])]
    assert list(row.references.items()) == [("a.jpg", REFERENCES["a.jpg"]), ("b.jpg", ["dogs"])]
    assert tokenized({}) == {}


@given(pictures)
def test_bleu_of_the_sums_is_the_corpus_bleu_of_pycocoevalcap(drawn):
    row = row_of(drawn)
    found = bleu_of(bleu_statistics(row).sum(axis=0))
    np.testing.assert_allclose(found, corpus_bleu(row), rtol=1e-12)


@given(pictures, st.data())
def test_bleu_of_a_resample_is_that_of_the_pictures_drawn(drawn, data):
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(drawn), max_size=len(drawn)).filter(any))
    repeated = [picture for picture, count in zip(drawn, times, strict=True) for _ in range(count)]
    found = bleu_of(np.array([times, times], float) @ bleu_statistics(row_of(drawn)))
    np.testing.assert_allclose(found, [corpus_bleu(row_of(repeated))] * 2, rtol=1e-12)


def test_without_the_brevity_penalty_a_short_caption_is_as_good_as_its_precision():
    values = bleu_statistics(CaptionSet({"a.jpg": ["a dog"]}, {"a.jpg": ["a dog runs on sand"]}))
    assert values.tolist() == [[2, 1, 0, 0, 2, 1, 0, 0, 2, 5]]
    assert bleu_of(values[0])[:2] == pytest.approx([np.exp(1 - 5 / 2)] * 2)
    assert bleu_of(values[0], brevity_penalty=False)[:2] == pytest.approx([1, 1])


@given(st.integers(0, 9), st.integers(1, 20), st.integers(1, 20))
def test_every_resample_draws_as_many_pictures_as_there_are(seed, resamples, number):
    times = _times_drawn(np.random.default_rng(seed), resamples, number)
    assert times.shape == (resamples, number) and (times >= 0).all()
    assert times.sum(axis=1).tolist() == [number] * resamples


@pytest.mark.parametrize("number", [200, 10_000])  # the second is drawn in several blocks
def test_the_interval_of_a_mean_is_the_normal_one_where_pictures_are_many(number):
    values = np.random.default_rng(3).normal(0.4, 0.2, number)
    (low, high) = intervals_of([mean_statistics("CIDEr", values)])["CIDEr"]
    half = 1.96 * values.std() / np.sqrt(number)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.12 * half)


def test_intervals_are_the_same_every_time_and_hold_every_metric():
    statistics = statistics_of(caption_set(GENERATED, REFERENCES))
    intervals, scores = intervals_of(statistics), scores_of(statistics)
    assert intervals == intervals_of(statistics)
    assert intervals.keys() == scores.keys()
    assert all(low <= scores[name] <= high and low < high for name, (low, high) in intervals.items())


def test_a_wider_level_gives_a_wider_interval_and_another_seed_another_one():
    values = mean_statistics("x", np.random.default_rng(0).random(50))
    assert intervals_of([values]) != intervals_of([values], seed=1)
    narrow, wide = (intervals_of([values], level=level)["x"] for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_pictures_that_are_all_alike_leave_nothing_to_chance():
    same = dict.fromkeys("abcdef", "a dog runs on sand")
    intervals = intervals_of(statistics_of(caption_set(same, {name: ["a dog is on the sand"] for name in same})))
    assert all(low == pytest.approx(high) for low, high in intervals.values())


def test_one_picture_has_no_interval():
    assert intervals_of([Statistics(("x",), np.ones([1, 1]), lambda sums: sums)]) == {}
