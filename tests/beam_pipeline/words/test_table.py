import json
import math

import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.runtime.tables import to_csv
from beam_pipeline.words.intervals import poisson_binomial, wilson
from beam_pipeline.words.reference import Reference
from beam_pipeline.words.shard_statistics import shard_statistics
from beam_pipeline.words.statistics import WordStatistics
from beam_pipeline.words.table import (
    COLUMNS,
    Collection,
    comparable,
    compare_counts,
    estimate,
    evidence_lines,
    importance_table,
)
from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD
from beam_pipeline.words.writer import by_kind

PEOPLE = Reference("training captions", 1000, {WORD: {"dog": 400, "runs": 99, "sea": 9, "a": 900, "kite": 3}})


def tables(captions, kind=WORD, reference=None, tails=None, files=1):
    """Captions, or (caption, evidence), -> rows by word, in their order."""
    pictures = []
    for number, given in enumerate(captions):
        text, words = given if isinstance(given, tuple) else (given, None)
        kinds = sorted({name for known in (words or {}).values() for name in known})
        evidence = None if words is None else {"kinds": kinds, "words": words}
        pictures.append(CaptionedPicture(f"sha{number}", f"/p/{number}.jpg", text, -1.0, (), evidence))
    counted = shard_statistics(pictures, {one.sha256: files for one in pictures})
    terms = by_kind(counted.terms.items())
    collection = Collection.from_counts(counted.counts)
    rows = importance_table(kind, terms[kind], terms[LEMMA], collection, reference, tails)
    return {row["word"]: row for row in rows}


def test_every_column_of_a_word_is_as_documented():
    rows = tables(["a dog runs", "dogs chase a dog", "a cat"], reference=PEOPLE, files=2)
    row = rows["dog"]
    idf = math.log(1001 / 401)
    assert {name: row[name] for name in ("word", "lemma", "stop_word", "interval", "example")} == {
        "word": "dog",
        "lemma": "dog",
        "stop_word": False,
        "interval": "wilson",
        "example": "/p/0.jpg",
    }
    assert (row["count"], row["images"], row["files"], row["lemma_images"]) == (2, 2, 4, 2)
    assert (row["estimate"], row["estimate_files"]) == (2.0, 4.0)
    assert (row["estimate_low"], row["estimate_high"]) == wilson(2, 3)
    assert row["share_of_images"] == pytest.approx(2 / 3)
    assert row["importance"] == pytest.approx(2 / 3 * idf)
    assert row["tf_idf"] == pytest.approx(2 * idf)
    assert row["mean_probability"] == pytest.approx(math.exp(-1))
    assert row["expected_count"] is row["mean_grounding"] is None
    assert rows["dogs"]["lemma"] == "dog" and rows["dogs"]["lemma_images"] == 2
    assert {column.name for column in COLUMNS} == row.keys()


def test_words_rank_by_share_times_surprise_and_stop_words_come_last():
    rows = tables(["a dog by the sea", "a dog by the sea", "a dog"], reference=PEOPLE)
    assert list(rows) == ["sea", "dog", "by", "the", "a"], "the sea is in fewer pictures, but rare in the reference"
    assert rows["a"]["stop_word"] and rows["a"]["z"] is None


def test_without_a_reference_words_rank_by_their_share():
    rows = tables(["dog sea", "dog sea", "dog"])
    assert [(word, row["importance"]) for word, row in rows.items()] == [("dog", 1.0), ("sea", pytest.approx(2 / 3))]
    assert rows["dog"]["log_odds"] is rows["dog"]["z"] is None
    assert rows["sea"]["tf_idf"] == pytest.approx(2 * math.log(4 / 3))


def test_log_odds_count_words_that_one_side_alone_uses():
    rows = tables(["dog sea", "sea"], reference=PEOPLE)
    # Stop words have no share in the totals; kite, which the collection never says, has.
    expected = compare_counts({"dog": 1, "sea": 2}, {"dog": 400, "runs": 99, "sea": 9, "kite": 3})
    assert {word: (row["log_odds"], row["z"]) for word, row in rows.items()} == {
        word: expected[word] for word in ("dog", "sea")
    }
    assert rows["sea"]["z"] > 0 > rows["dog"]["z"]


SURE = {"dog": {"presence": 0.9}, "sea": {"presence": 0.3}}


def test_presence_makes_the_estimate_where_every_picture_has_it():
    rows = tables([("a dog", SURE), ("a cat", SURE)])
    row = rows["sea"]
    assert (row["images"], row["estimate"], row["interval"]) == (0, pytest.approx(0.6), "poisson_binomial")
    assert (row["estimate_low"], row["estimate_high"]) == poisson_binomial(0.6, 0.18)
    assert row["mean_probability"] is None
    assert rows["dog"]["estimate"] == pytest.approx(1.8), "more than the one caption that says it"
    assert rows["cat"]["interval"] == "wilson", "nothing but its caption speaks of it"


def test_a_collection_some_of_whose_pictures_lack_presence_is_counted_by_captions():
    rows = tables([("a dog", SURE), "a dog"])
    assert (rows["dog"]["estimate"], rows["dog"]["interval"]) == (2.0, "wilson")
    assert rows["sea"]["estimate"] == 0.0


def test_pictures_below_the_floor_add_their_mean_presence():
    rows = tables([("dog", SURE), ("cat", {"dog": {"presence": 0.9}})], tails={"sea": 0.004}, files=3)
    assert rows["sea"]["estimate"] == pytest.approx(0.304)
    assert rows["sea"]["estimate_files"] == pytest.approx(0.912)


def test_evidence_that_is_there_and_evidence_that_is_not():
    assert Collection.from_counts({}).evidence == ("said",)
    counts = {"pictures_counted": 2, "files_counted": 3, "evidence_presence": 2, "evidence_expected": 1}
    assert Collection.from_counts(counts) == Collection(2, 3, ("said", "presence"))


def test_expected_counts_and_grounding_are_columns_of_their_own():
    known = {"dog": {"expected": 0.75, "grounding": 1.5}, "cat": {"expected": 0.25, "grounding": -3.0}}
    rows = tables([("a dog", known), ("a dog", known)])
    assert (rows["dog"]["expected_count"], rows["dog"]["mean_grounding"]) == (1.5, 1.5)
    assert (rows["cat"]["expected_count"], rows["cat"]["mean_grounding"]) == (0.5, None), "never said"


def test_estimates_are_compared_with_estimates_or_people_and_captions_with_captions():
    ours = {"dog": (1.8, 1.0)}
    captioned = Reference("b", 9, {WORD: {"dog": 5}}, {}, {"model_id": "m"})
    estimated = Reference("b", 9, {WORD: {"dog": 5}}, {WORD: {"dog": 6.5}}, {"model_id": "m"})
    assert comparable(ours, True, PEOPLE, WORD) == ({"dog": 1.8}, PEOPLE.document_frequency[WORD])
    assert comparable(ours, False, PEOPLE, WORD) == ({"dog": 1.0}, PEOPLE.document_frequency[WORD])
    assert comparable(ours, True, captioned, WORD) == ({"dog": 1.0}, {"dog": 5})
    assert comparable(ours, True, estimated, WORD) == ({"dog": 1.8}, {"dog": 6.5})
    assert comparable(ours, False, estimated, WORD) == ({"dog": 1.0}, {"dog": 5})


def test_bigrams_have_a_table_of_their_own():
    rows = tables(["a black dog on a red mat", "black dogs", "black dog black dog"], kind=BIGRAM, reference=PEOPLE)
    assert {word: row["images"] for word, row in rows.items()} == {
        "black dog": 2,
        "black dogs": 1,
        "red mat": 1,
        "dog black": 1,
    }
    assert rows["black dogs"]["lemma"] == "black dog"
    assert rows["black dog"]["z"] is None, "the training captions are not counted by bigram"


def test_an_empty_collection_gives_an_empty_table():
    assert tables([], reference=PEOPLE) == {}
    assert to_csv(COLUMNS, []).decode().count("\n") == 1


def test_folding_never_depends_on_other_captions():
    """Counts of two halves add up to those of the whole, whatever short forms the other half holds."""
    captions = ["two dogs run", "a dog runs", "a bus on grass", "the bu was wet", "tennis pants and glasses by a glass"]
    whole, first, second = tables(captions), tables(captions[:2]), tables(captions[2:])
    for word, row in whole.items():
        halves = [half[word] for half in (first, second) if word in half]
        assert sum(half["images"] for half in halves) == row["images"]
        assert {half["lemma"] for half in halves} == {row["lemma"]}
    for word in ("bus", "grass", "was", "tennis", "pants", "glasses"):
        assert whole[word]["lemma"] == word
    assert whole["dogs"]["lemma"] == "dog" and whole["dogs"]["lemma_images"] == 2


def test_words_to_look_at_are_listed_in_the_table_s_order():
    rows = list(tables(["a dog", "a cat"]).values())
    pictures = [CaptionedPicture("s1", "/=1.jpg", "a dog", -1.0, (), {"kinds": ["presence"], "words": {}})]
    terms = by_kind(shard_statistics(pictures, {"s1": 1}).terms.items())[WORD]
    (line,) = evidence_lines([row for row in rows if row["word"] in ("dog", "a")], WORD, terms)
    seen = {"uri": "/=1.jpg", "sha256": "s1", "caption": "a dog"}
    assert json.loads(line) == {"kind": "word", "word": "dog", "top": [seen], "sample": [seen], "likely_false": []}


def test_what_is_known_of_a_picture_stands_beside_it():
    known = {"dog": {"presence": 0.05, "grounding": -0.5}}
    picture = CaptionedPicture("s1", "/1.jpg", "dog", -1.0, (), {"kinds": ["presence", "grounding"], "words": known})
    terms = by_kind(shard_statistics([picture], {"s1": 1}).terms.items())[WORD]
    (line,) = evidence_lines([{"word": "dog", "stop_word": False}], WORD, terms)
    shown = {"uri": "/1.jpg", "sha256": "s1", "caption": "dog", "presence": 0.05, "grounding": -0.5}
    assert json.loads(line)["likely_false"] == [shown]


def test_the_estimate_of_an_unseen_word_is_nothing():
    assert estimate(WordStatistics(), Collection(0, 0)).pictures == 0
