import contextlib
import hashlib
import itertools
import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED, LedgerLine
from beam_pipeline.words.shard_statistics import (
    files_of_pictures,
    parse_words,
    shard_statistics,
    statistics_to_json,
    to_words,
)
from beam_pipeline.words.statistics import WordStatistics, WordSums
from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD
from training.documents import Damaged


def picture(name, caption, score=-1.0, evidence=None, flags=()):
    kinds = sorted({kind for known in (evidence or {}).values() for kind in known})
    stored = None if evidence is None else {"kinds": kinds, "words": evidence}
    return CaptionedPicture(hashlib.sha256(name.encode()).hexdigest(), f"/p/{name}.jpg", caption, score, flags, stored)


def terms_of(one, files):
    return shard_statistics([one], {one.sha256: files}).terms


def test_a_word_counts_once_a_picture_and_once_a_file():
    found = terms_of(picture("a", "a dog chases a dog", -0.5), 3)
    assert found[WORD, "dog"].pictures == WordSums(mentions=2, captions=1, score=-500_000)
    assert found[WORD, "dog"].files == WordSums(mentions=6, captions=3, score=-1_500_000)
    words = sorted(text for kind, text in found if kind == WORD)
    assert words == ["a", "chases", "dog"]


def test_a_looped_caption_adds_each_term_once():
    found = terms_of(picture("a", "red hat red hat red hat"), 1)
    terms = [(kind, text) for kind in (WORD, LEMMA) for text in ("red", "hat")]
    terms += [(BIGRAM, "red hat"), (BIGRAM, "hat red")]
    assert {term: statistics.pictures.captions for term, statistics in found.items()} == dict.fromkeys(terms, 1)
    assert found[BIGRAM, "red hat"].pictures.mentions == 3


def test_two_forms_in_one_picture_are_one_picture_of_their_lemma():
    found = terms_of(picture("a", "dogs chase a dog"), 1)
    assert found[LEMMA, "dog"].pictures == WordSums(mentions=2, captions=1, score=-1_000_000)


def test_evidence_is_summed_in_millionths():
    evidence = {"dog": {"presence": 0.9, "grounding": 1.5, "expected": 1.2}, "sea": {"presence": 0.25}}
    found = terms_of(picture("a", "dog runs", -0.5, evidence), 2)
    said = WordSums(mentions=1, captions=1, score=-500_000)
    presence = WordSums(with_presence=1, captions_with_presence=1, presence=900_000, presence_squared=810_000_000_000)
    others = WordSums(with_expected=1, expected=1_200_000, with_grounding=1, grounding=1_500_000)
    assert found[WORD, "dog"].pictures == said.plus(presence).plus(others)
    assert found[WORD, "sea"].files == WordSums(with_presence=2, presence=500_000, presence_squared=125_000_000_000)
    assert found[WORD, "runs"].pictures == said


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


def test_a_picture_that_no_file_shows_is_a_caption_and_nothing_else():
    gone, shown = picture("a", "a dog", flags=("repeats",)), picture("b", "a cat")
    found = shard_statistics([gone, shown], {shown.sha256: 2})
    assert found.counts == {"captions": 2, "files_counted": 2, "flag_repeats": 1, "pictures_counted": 1}
    assert (WORD, "dog") not in found.terms


@given(collections)
def test_a_shard_s_file_is_read_back(collection):
    statistics = count_all(collection)
    written = to_words(statistics)
    assert parse_words(written, "words.jsonl") == statistics
    header, *rows = (json.dumps(line) + "\n" for line in statistics_to_json(statistics))
    assert parse_words("".join([header, *rows]).encode(), "words.jsonl") == statistics  # of an earlier captionbeam
    assert parse_words(header.replace(": 2,", ": 1,", 1).encode(), "words.jsonl") is None


@given(collections, st.data())
def test_a_shard_s_file_with_a_flipped_bit_is_never_read_as_another(collection, data):
    statistics = count_all(collection)
    flipped = bytearray(to_words(statistics))
    place = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[place // 8] ^= 1 << place % 8
    with contextlib.suppress(Damaged):
        assert parse_words(bytes(flipped), "words.jsonl") in (statistics, None)


def test_files_of_a_picture_are_those_that_show_it():
    lines = [
        LedgerLine(f"/{name}", 1, 1.0, sha256, outcome)
        for name, sha256, outcome in (("a", "x", DONE), ("b", "x", DUPLICATE), ("c", "y", DONE), ("d", "", REJECTED))
    ]
    assert files_of_pictures(lines) == {"x": 2, "y": 1}


def test_a_shard_s_file_holds_each_example_picture_once():
    statistics = shard_statistics([CaptionedPicture("aa", "/a.jpg", "dog", -0.5)], {"aa": 1})
    rank = statistics.terms[WORD, "dog"].sample[0].rank
    sums = "[1,1,0,0,0,0,0,0,0,0,-500000]"
    header, *rows = to_words(statistics).decode().splitlines()
    checksum = json.loads(header)["checksum"]
    assert [header.replace(f',"checksum":"{checksum}"', ""), *rows] == [
        '{"schema_version":2,"counts":{"captions":1,"files_counted":1,"pictures_counted":1},"pictures":[["aa","/a.jpg","dog"]]}',
        f'["lemma","dog",{sums},{sums},[],[],[]]',
        f'["word","dog",{sums},{sums},[[500000,0,null,null]],[[{rank},0,null,null]],[]]',
    ]
