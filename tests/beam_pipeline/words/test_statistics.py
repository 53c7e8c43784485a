import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.statistics import (
    EXAMPLES,
    ExamplePicture,
    StatisticsBuilder,
    WordStatistics,
    WordSums,
    sample_rank,
)
from beam_pipeline.words.terms import LEMMA, WORD

DOG = (WORD, "dog")

sums = st.builds(WordSums, *[st.integers(-(10**30), 10**30)] * len(WordSums._fields))


@given(sums, sums, sums)
def test_sums_are_a_commutative_group(a, b, c):
    assert a.plus(b) == b.plus(a)
    assert a.plus(b).plus(c) == a.plus(b.plus(c))
    assert a.plus(b).minus(b) == a == a.plus(WordSums())
    assert a.plus(b).times(3) == a.times(3).plus(b.times(3))


def test_sums_beyond_64_bits_are_exact():
    huge = WordSums(presence_squared=2**63 - 1)
    assert huge.times(1000).plus(WordSums(presence_squared=1)).presence_squared == 1000 * (2**63 - 1) + 1


def build(*pictures, term=DOG):
    """(name, mentions, score, evidence) of pictures that one file shows -> their statistics."""
    builder = StatisticsBuilder()
    for name, mentions, score, evidence in pictures:
        builder.add(term, CaptionedPicture(name, f"/{name}", "dog" * mentions, score), 1, score, mentions, evidence)
    return builder.build()


def names(examples):
    return [example.sha256 for example in examples]


def test_a_picture_counts_once_and_each_of_its_files_once():
    builder = StatisticsBuilder()
    picture = CaptionedPicture("a", "/a", "dog sees dog", -0.5)
    builder.add(DOG, picture, 3, -500_000, 2, {"expected": 1.5, "presence": 0.1, "grounding": -2.0})
    example = (picture.sha256, picture.uri, picture.caption, 100_000, -2_000_000)
    said = WordSums(mentions=2, captions=1, score=-500_000, with_grounding=1, grounding=-2_000_000)
    presence = WordSums(with_presence=1, captions_with_presence=1, presence=100_000, presence_squared=10_000_000_000)
    once = said.plus(presence).plus(WordSums(with_expected=1, expected=1_500_000))
    assert builder.build() == WordStatistics(
        pictures=once,
        files=once.times(3),
        top=(ExamplePicture(2_000_000, *example),),
        sample=(ExamplePicture(sample_rank(*DOG, "a", 0.1), *example),),
        likely_false=(ExamplePicture(100_000, *example),),
    )


def test_a_picture_without_the_word_adds_its_evidence_alone():
    found = build(("a", 0, -500_000, {"presence": 0.25}))
    assert found.pictures == WordSums(with_presence=1, presence=250_000, presence_squared=62_500_000_000)


def test_lemmas_have_no_examples():
    found = build(("a", 1, -500_000, {}), term=(LEMMA, "dog"))
    assert found == WordStatistics(*[WordSums(mentions=1, captions=1, score=-500_000)] * 2)


def test_the_top_pictures_are_the_best_grounded_and_without_grounding_those_with_the_best_score():
    pictures = [(f"p{number}", 1, -number, {}) for number in range(EXAMPLES + 2)]
    assert names(build(*pictures).top) == ["p0", "p1", "p2", "p3", "p4"]
    grounded = [(name, 1, score, {"grounding": float(-score)}) for name, _, score, _ in pictures]
    assert names(build(*grounded).top) == ["p6", "p5", "p4", "p3", "p2"]


def test_a_picture_whose_caption_lacks_the_word_is_among_the_top_where_it_is_likely():
    assert names(build(("likely", 0, -1, {"presence": 0.7}), ("unlikely", 0, -1, {"presence": 0.2})).top) == ["likely"]


def test_ties_are_broken_by_content():
    pictures = [(f"p{number}", 1, -1, {}) for number in range(EXAMPLES + 5)]
    assert names(build(*pictures[::-1]).top) == [f"p{number}" for number in range(EXAMPLES)]


@pytest.mark.parametrize(
    ("evidence", "likely_false"),
    [
        ({"presence": 0.05}, True),
        ({"presence": 0.6}, False),
        ({"presence": 0.6, "grounding": -2.0}, False),
        ({"grounding": -2.0}, True),
        ({"grounding": 0.1}, False),
        ({}, False),
    ],
)
def test_likely_false_mentions_contradict_the_evidence(evidence, likely_false):
    assert bool(build(("a", 1, -1, evidence)).likely_false) is likely_false
    assert not build(("a", 0, -1, evidence)).likely_false


def test_the_sample_is_drawn_in_proportion_to_presence():
    """Of many pairs the one with three times the weight comes first in three out of four."""
    first = sum(sample_rank(*DOG, f"a{number}", 0.75) < sample_rank(*DOG, f"b{number}", 0.25) for number in range(4000))
    assert first / 4000 == pytest.approx(0.75, abs=0.03)


def test_every_word_has_a_sample_of_its_own_and_the_same_one_each_time():
    pictures = [(f"p{number}", 1, -1, {}) for number in range(40)]
    dog, cat = (build(*pictures, term=(WORD, word)).sample for word in ("dog", "cat"))
    assert len(dog) == len(cat) == EXAMPLES
    assert set(names(dog)) != set(names(cat))
    assert dog == build(*pictures[::-1]).sample


rows = st.lists(
    st.tuples(
        st.integers(0, 3), st.integers(-(10**6), 0), st.fixed_dictionaries({}, optional={"presence": st.floats(0, 1)})
    ),
    max_size=20,
).map(lambda found: [(f"p{number:02}", *row) for number, row in enumerate(found)])


@given(rows, st.data())
def test_statistics_merged_in_any_order_are_those_of_all_pictures(pictures, data):
    first, second = (data.draw(st.integers(0, len(pictures))) for _ in range(2))
    cuts = [0, *sorted((first, second)), len(pictures)]
    parts = [build(*pictures[begin:end]) for begin, end in itertools.pairwise(cuts)]
    a, b, c = data.draw(st.permutations(parts))
    assert a.merge(b).merge(c) == a.merge(b.merge(c)) == build(*pictures)
