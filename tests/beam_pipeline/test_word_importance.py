import csv
import io

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.word_importance import (
    EXAMPLES,
    MergeTallies,
    WordTally,
    content_words,
    escape_cell,
    merge_tallies,
    stop_words,
    tally_caption,
    to_csv,
    unescape_cell,
)

LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A dog runs on the beach .", ["dog", "runs", "beach"]),
        ("the dog's ball", ["dog", "ball"]),
        ("the dog\u2019s ball", ["dog", "ball"]),
        ("'dog' in quotes", ["dog", "quotes"]),
        ("was the virus on the bus ?", ["virus", "bus"]),
        ("a black-and-white dog", ["black-and-white", "dog"]),
        ("", []),
        (". , ! -", []),
    ],
)
def test_content_words(caption, words):
    assert content_words(caption) == words


def test_stop_words_are_a_visible_file():
    assert {"a", "the", "on"} <= stop_words()
    assert "dog" not in stop_words() and not any(word.startswith("#") for word in stop_words())


def test_a_word_counts_once_a_picture_and_once_a_file():
    tallies = dict(tally_caption("a dog chases a dog", -0.5, "aa", "/p/a.jpg", files=3))
    assert tallies["dog"] == WordTally(2, 1, 3, -500_000, ((500_000, "aa", "/p/a.jpg"),))
    assert sorted(tallies) == ["chases", "dog"]


tallies = st.builds(
    WordTally,
    count=st.integers(1, 9),
    images=st.integers(1, 9),
    files=st.integers(1, 9),
    score_micro=st.integers(-(10**9), 0),
    examples=st.lists(st.tuples(st.integers(0, 99), st.text("abc", max_size=2), st.just("/p")), max_size=EXAMPLES).map(
        lambda found: tuple(sorted(found))
    ),
)


@given(st.lists(tallies, min_size=1, max_size=8), st.data())
def test_order_and_grouping_change_nothing(parts, data):
    whole = merge_tallies(parts)
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(0, len(parts)))
    assert merge_tallies([merge_tallies(shuffled[:cut]), merge_tallies(shuffled[cut:])]) == whole


def test_counts_of_two_halves_add_up_in_a_pipeline():
    captions = [("a dog", "aa"), ("two dogs and a dog", "bb"), ("a cat", "cc")]

    def run(parts):
        with TestPipeline(runner=LOCAL) as pipeline:
            found = (
                pipeline
                | beam.Create(parts)
                | beam.FlatMap(lambda part: [t for text, sha in part for t in tally_caption(text, -1.0, sha, sha, 1)])
                | beam.CombinePerKey(MergeTallies())
                | beam.MapTuple(lambda word, tally: (word, tally.count, tally.images))
            )
            assert_that(found, equal_to([("dog", 2, 2), ("two", 1, 1), ("dogs", 1, 1), ("cat", 1, 1)]))

    for parts in ([captions], [captions[:1], captions[1:]], [captions[2:], captions[:2]]):
        run(parts)


def rows_of(words, pictures=1):
    return list(csv.DictReader(io.StringIO(to_csv(words, pictures).decode())))


def test_the_table_is_sorted_and_complete():
    words = [
        ("cat", WordTally(1, 1, 1, 0, ((0, "a", "/a"),))),
        ("dog", WordTally(3, 2, 4, -1_000_000, ((1, "b", "/b"),))),
    ]
    first, second = rows_of(words, pictures=4)
    assert first == {
        "word": "dog",
        "count": "3",
        "images": "2",
        "files": "4",
        "share_of_images": "0.500000",
        "mean_probability": "0.6065",
        "example": "/b",
    }
    assert second["word"] == "cat"


def test_an_empty_collection_gives_an_empty_table():
    assert to_csv([], 0).decode().splitlines() == ["word,count,images,files,share_of_images,mean_probability,example"]


def test_no_cell_runs_in_a_spreadsheet():
    names = ["=1+2.jpg", "+a.jpg", "-1.jpg", "@x.jpg", 'a,"b".jpg', "new\nline.jpg", "'quoted"]
    words = [("=now()", WordTally(1, 1, 1, 0, ((0, "a", name),))) for name in names]
    rows = rows_of(words)
    assert len(rows) == len(names)
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in (row["word"], row["example"]))
    assert [unescape_cell(row["example"]) for row in rows] == names


@given(st.text())
def test_escaping_is_reversible(text):
    assert unescape_cell(escape_cell(text)) == text
