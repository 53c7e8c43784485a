import hashlib
import itertools
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.statistics import (
    EXAMPLES,
    WordStatistics,
    WordSums,
    sample_rank,
    shard_statistics,
    statistics_from_json,
    statistics_to_json,
)
from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD


def picture(name, caption, score=-1.0, evidence=None, flags=()):
    kinds = sorted({kind for known in (evidence or {}).values() for kind in known})
    stored = None if evidence is None else {"kinds": kinds, "words": evidence}
    return CaptionedPicture(hashlib.sha256(name.encode()).hexdigest(), f"/p/{name}.jpg", caption, score, flags, stored)


def terms_of(one, files):
    return shard_statistics([one], {one.sha256: files}).terms


def test_a_word_counts_once_a_picture_and_once_a_file():
    found = terms_of(picture("a", "a dog chases a dog", -0.5), 3)
    assert found[WORD, "dog"].pictures == WordSums(mentions=2, said=1, score=-500_000)
    assert found[WORD, "dog"].files == WordSums(mentions=6, said=3, score=-1_500_000)
    words = sorted(text for kind, text in found if kind == WORD)
    assert words == ["a", "chases", "dog"]


def test_a_looped_caption_adds_each_term_once():
    found = terms_of(picture("a", "red hat red hat red hat"), 1)
    assert {term: statistics.pictures.said for term, statistics in found.items()} == {
        (WORD, "red"): 1,
        (WORD, "hat"): 1,
        (LEMMA, "red"): 1,
        (LEMMA, "hat"): 1,
        (BIGRAM, "red hat"): 1,
        (BIGRAM, "hat red"): 1,
    }
    assert found[BIGRAM, "red hat"].pictures.mentions == 3


def test_two_forms_in_one_picture_are_one_picture_of_their_lemma():
    found = terms_of(picture("a", "dogs chase a dog"), 1)
    assert found[LEMMA, "dog"].pictures == WordSums(mentions=2, said=1, score=-1_000_000)


def test_evidence_is_summed_in_millionths():
    evidence = {"dog": {"presence": 0.9, "grounding": 1.5, "expected": 1.2}, "sea": {"presence": 0.25}}
    found = terms_of(picture("a", "dog runs", -0.5, evidence), 2)
    assert found[WORD, "dog"].pictures == WordSums(
        mentions=1,
        said=1,
        known=1,
        said_known=1,
        presence=900_000,
        presence_squared=810_000_000_000,
        expecting=1,
        expected=1_200_000,
        grounded=1,
        grounding=1_500_000,
        score=-500_000,
    )
    assert found[WORD, "sea"].files == WordSums(known=2, presence=500_000, presence_squared=125_000_000_000)
    assert found[WORD, "runs"].pictures == WordSums(mentions=1, said=1, score=-500_000)


sums = st.builds(WordSums, *[st.integers(-(10**30), 10**30)] * len(WordSums._fields))


@given(sums, sums, sums)
def test_sums_are_a_commutative_group(a, b, c):
    assert a.plus(b) == b.plus(a)
    assert a.plus(b).plus(c) == a.plus(b.plus(c))
    assert a.plus(b).minus(b) == a == a.plus(WordSums())
    assert a.plus(b).times(3) == a.times(3).plus(b.times(3))


probabilities = st.floats(0, 1)
evidences = st.none() | st.dictionaries(
    st.sampled_from(["dog", "cat", "sea"]),
    st.fixed_dictionaries({"presence": probabilities, "grounding": st.floats(-5, 5)}),
)
captions = st.lists(st.sampled_from(["dog", "dogs", "a", "cat", "runs"]), max_size=5).map(" ".join)
collections = st.lists(st.tuples(captions, st.floats(-9, 0), evidences, st.integers(0, 3)), max_size=14).map(
    lambda rows: [(picture(str(number), *row[:3]), row[3]) for number, row in enumerate(rows)]
)


def count_all(collection):
    return shard_statistics((one for one, _ in collection), {one.sha256: files for one, files in collection})


def merged(parts):
    counts, terms = Counter(), {}
    for part in parts:
        counts.update(part.counts)
        for term, statistics in part.terms.items():
            terms[term] = terms.get(term, WordStatistics()).merge(statistics)
    return dict(counts), terms


@given(collections, st.data())
def test_shards_cut_anywhere_and_merged_in_any_order_are_the_whole(collection, data):
    whole = count_all(collection)
    shuffled = data.draw(st.permutations(collection))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
    bounds = [0, *cuts, len(shuffled)]
    parts = [count_all(shuffled[begin:end]) for begin, end in itertools.pairwise(bounds)]
    assert merged(data.draw(st.permutations(parts))) == (whole.counts, whole.terms)


@given(collections, st.data())
def test_a_shard_that_is_removed_is_subtracted(collection, data):
    cut = data.draw(st.integers(0, len(collection)))
    whole, kept, gone = count_all(collection), count_all(collection[:cut]), count_all(collection[cut:])
    for term, statistics in whole.terms.items():
        removed, left = gone.terms.get(term, WordStatistics()), kept.terms.get(term, WordStatistics())
        assert statistics.pictures.minus(removed.pictures) == left.pictures
        assert statistics.files.minus(removed.files) == left.files


def test_sums_beyond_64_bits_are_exact():
    huge = WordSums(presence_squared=2**63 - 1)
    assert huge.times(1000).plus(WordSums(presence_squared=1)).presence_squared == 1000 * (2**63 - 1) + 1


def test_a_picture_that_no_file_shows_is_a_caption_and_nothing_else():
    gone, shown = picture("a", "a dog", flags=("repeats",)), picture("b", "a cat")
    found = shard_statistics([gone, shown], {shown.sha256: 2})
    assert found.counts == {"captions": 2, "files_counted": 2, "flag_repeats": 1, "pictures_counted": 1}
    assert (WORD, "dog") not in found.terms


def names(examples):
    return [example.uri.removeprefix("/p/").removesuffix(".jpg") for example in examples]


def statistics_of(pictures, term):
    return shard_statistics(pictures, {one.sha256: 1 for one in pictures}).terms[term]


def test_the_top_pictures_are_the_best_grounded_and_without_grounding_the_surest():
    pictures = [picture(f"p{number}", "dog", -float(number)) for number in range(EXAMPLES + 2)]
    assert names(statistics_of(pictures, (WORD, "dog")).top) == ["p0", "p1", "p2", "p3", "p4"]
    grounded = [
        picture(f"p{number}", "dog", -float(number), {"dog": {"grounding": float(number)}})
        for number in range(EXAMPLES + 2)
    ]
    assert names(statistics_of(grounded, (WORD, "dog")).top) == ["p6", "p5", "p4", "p3", "p2"]


def test_a_word_that_is_not_said_has_top_pictures_where_it_is_likely():
    pictures = [
        picture("likely", "cat", evidence={"dog": {"presence": 0.7}}),
        picture("hardly", "cat", evidence={"dog": {"presence": 0.2}}),
    ]
    assert names(statistics_of(pictures, (WORD, "dog")).top) == ["likely"]


def test_ties_are_broken_by_content():
    pictures = [picture(f"p{number}", "dog") for number in range(EXAMPLES + 5)]
    top = statistics_of(pictures, (WORD, "dog")).top
    assert [one.sha256 for one in top] == sorted(one.sha256 for one in pictures)[:EXAMPLES]


@pytest.mark.parametrize(
    ("evidence", "doubtful"),
    [
        ({"dog": {"presence": 0.05}}, True),
        ({"dog": {"presence": 0.6}}, False),
        ({"dog": {"presence": 0.6, "grounding": -2.0}}, False),
        ({"dog": {"grounding": -2.0}}, True),
        ({"dog": {"grounding": 0.1}}, False),
        (None, False),
    ],
)
def test_likely_false_mentions_are_said_against_the_evidence(evidence, doubtful):
    assert bool(statistics_of([picture("a", "dog", evidence=evidence)], (WORD, "dog")).doubtful) is doubtful
    silent = terms_of(picture("a", "cat", evidence=evidence), 1)
    assert not silent.get((WORD, "dog"), WordStatistics()).doubtful


def test_the_sample_is_drawn_in_proportion_to_presence():
    """Of many pairs the one with three times the weight comes first in three out of four."""
    first = sum(
        sample_rank(WORD, "dog", f"a{number}", 0.75) < sample_rank(WORD, "dog", f"b{number}", 0.25)
        for number in range(4000)
    )
    assert first / 4000 == pytest.approx(0.75, abs=0.03)


def test_every_word_has_a_sample_of_its_own_and_the_same_one_each_time():
    pictures = [picture(f"p{number}", "dog cat") for number in range(40)]
    dog, cat = (statistics_of(pictures, (WORD, word)).sample for word in ("dog", "cat"))
    assert len(dog) == len(cat) == EXAMPLES
    assert {one.sha256 for one in dog} != {one.sha256 for one in cat}
    assert dog == statistics_of(pictures[::-1], (WORD, "dog")).sample


@given(collections)
def test_a_shard_s_file_is_read_back(collection):
    statistics = count_all(collection)
    lines = [json.loads(json.dumps(line)) for line in statistics_to_json(statistics)]
    assert statistics_from_json(iter(lines)) == statistics
    assert statistics_from_json(iter([{"schema_version": 0}])) is None
