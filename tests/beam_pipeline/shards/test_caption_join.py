"""Human captions joined with their pictures, by image name."""

import sys
from collections import deque
from dataclasses import replace
from itertools import chain

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.shards.caption_join import (
    InputWithCaptions,
    JoinCaptions,
    clean_own_captions,
    match_captions,
    read_caption_rows,
)
from training.data.caption_files import CaptionRow, read_captions


def file(uri: str) -> InputFile:
    return InputFile(uri, 1, 1.0)


@pytest.fixture
def match(split_outputs):
    """(uris, caption rows) -> (InputWithCaptions, counts, notes)."""

    def match(uris, rows):
        return split_outputs(match_captions((b"x", {"files": [file(uri) for uri in uris], "rows": rows})))

    return match


COMPOSED, DECOMPOSED = "M\u00fcnchen.jpg", "Mu\u0308nchen.jpg"


def test_captions_find_a_name_in_the_other_unicode_form(match):
    captioned, counts, _ = match([f"/p/{DECOMPOSED}"], [CaptionRow(COMPOSED, "a city", 2)])
    assert captioned == [InputWithCaptions(file(f"/p/{DECOMPOSED}"), ("a city",))]
    assert counts == {}


def test_the_exact_spelling_wins_and_each_keeps_its_own(match):
    captioned, counts, _ = match(
        [f"/p/{COMPOSED}", f"/p/{DECOMPOSED}"],
        [CaptionRow(DECOMPOSED, "decomposed", 2), CaptionRow(COMPOSED, "composed", 3)],
    )
    assert {captions.file.uri: captions.captions for captions in captioned} == {
        f"/p/{COMPOSED}": ("composed",),
        f"/p/{DECOMPOSED}": ("decomposed",),
    }
    assert counts == {}


def test_unmatched_names_are_counted_and_listed(match):
    captioned, counts, notes = match(["/p/a.jpg"], [CaptionRow("b/a.jpg", "elsewhere", 2)])
    assert captioned == [InputWithCaptions(file("/p/a.jpg"))]
    assert counts == {"captions_without_picture": 1, "pictures_without_caption": 1}
    assert notes == [("captions_without_picture", "b/a.jpg"), ("pictures_without_caption", "/p/a.jpg")]


def test_a_path_in_the_caption_file_tells_files_of_one_name_apart(match):
    captioned, _, _ = match(["/p/x/a.jpg", "/p/y/a.jpg"], [CaptionRow("y/a.jpg", "second", 2)])
    assert [captions.captions for captions in captioned] == [(), ("second",)]


def test_captions_of_a_container_come_first_and_are_not_repeated(split_outputs):
    own = InputFile("/p/a.tar!/a.jpg", 1, 1.0, captions=("a dog",))
    rows = [CaptionRow("a.jpg", "a dog", 2), CaptionRow("a.jpg", "a puppy", 3)]
    captioned, counts, _ = split_outputs(match_captions((b"a.jpg", {"files": [own], "rows": rows})))
    assert captioned == [InputWithCaptions(own, ("a dog", "a puppy"))]
    assert counts == {}


def test_a_file_that_is_listed_twice_has_its_captions_once(match):
    captioned, _, _ = match(["/p/a.jpg", "/p/a.jpg"], [CaptionRow("a.jpg", "a dog", 2)])
    assert [captions.captions for captions in captioned] == [("a dog",), ("a dog",)]


def test_repeated_rows_are_kept_and_counted(match):
    captioned, counts, _ = match(["/p/a.jpg"], [CaptionRow("a.jpg", "a dog", 2), CaptionRow("a.jpg", "a dog", 3)])
    assert captioned[0].captions == ("a dog", "a dog")
    assert counts == {"captions_repeated": 1}


def test_rows_come_with_the_name_of_their_image_and_unreadable_lines_are_counted(tmp_path, split_outputs):
    (tmp_path / "captions.csv").write_text("image,caption\nx/a.jpg,a dog\nb.jpg\nb.jpg,a cat\nimage,caption\nb.jpg,.\n")
    rows, counts, notes = split_outputs(read_caption_rows(read_captions(str(tmp_path / "captions.csv"))))
    assert rows == [(b"a.jpg", CaptionRow("x/a.jpg", "a dog", 2)), (b"b.jpg", CaptionRow("b.jpg", "a cat", 4))]
    lines = {"caption_lines_unreadable": 1, "caption_headings": 1, "captions_without_words": 1}
    assert counts == {"caption_rows": 2, **lines}
    assert [kind for kind, _ in notes] == list(lines)


def test_an_image_keeps_a_bounded_number_of_captions_the_first_ones(match):
    rows = [CaptionRow("a.jpg", f"dog {number}", number) for number in range(250, 0, -1)]
    captioned, counts, notes = match(["/p/a.jpg", "/q/a.jpg"], rows)
    assert [captions.captions for captions in captioned] == [tuple(f"dog {number}" for number in range(1, 101))] * 2
    assert counts == {"captions_over_limit": 300}
    assert notes == [("captions_over_limit", "/p/a.jpg"), ("captions_over_limit", "/q/a.jpg")]


def test_rows_that_name_a_file_in_several_ways_come_in_the_order_of_lines(match):
    rows = [CaptionRow("a.jpg", "one", 1), CaptionRow("p/a.jpg", "two", 2), CaptionRow("a.jpg", "three", 3)]
    captioned, counts, _ = match(["/p/a.jpg", "/q/a.jpg"], rows)
    assert [captions.captions for captions in captioned] == [("one", "two", "three"), ("one", "three")]
    assert counts == {}


def test_own_captions_and_rows_share_the_limit(split_outputs):
    own = InputFile("/p/a.tar!/a.jpg", 1, 1.0, captions=tuple(f"own {number}" for number in range(99)))
    rows = [CaptionRow("a.jpg", text, line) for line, text in enumerate(["own 7", "a dog", "a cat"])]
    captioned, counts, _ = split_outputs(match_captions((b"a.jpg", {"files": [own], "rows": rows})))
    assert captioned[0].captions == (*own.captions, "a dog") and counts == {"captions_over_limit": 1}


def test_rows_of_a_missing_picture_are_noted_once(match):
    _, counts, notes = match([], [CaptionRow("gone.jpg", f"dog {line}", line) for line in range(5)])
    assert counts == {"captions_without_picture": 5}
    assert notes == [("captions_without_picture", "gone.jpg")]


def operations(function, *args):
    """Number of calls, of C functions too, that a function makes."""
    made = 0

    def count(frame, event, arg):
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        deque(function(*args), maxlen=0)
    finally:
        sys.setprofile(None)
    return made


@pytest.mark.parametrize("name", ["{}/image.png", "image.png"], ids=["paths", "file names"])
def test_many_folders_with_a_file_of_one_name_take_linear_time(name):
    def group(folders):
        files = [file(f"/p/{number}/image.png") for number in range(folders)]
        rows = [CaptionRow(name.format(line // 5), f"dog {line}", line) for line in range(5 * folders)]
        return b"image.png", {"files": files, "rows": rows}

    # Above the limit of captions, the number of rows that a file looks at grows no more.
    assert operations(match_captions, group(400)) < 2.5 * operations(match_captions, group(200))


def test_own_captions_are_cleaned_and_the_others_counted(split_outputs):
    texts = ("<start> a dog <end>", ".", "a cat", "", "\U0001f415", "word " * 20_000, *["a bird"] * 99)
    plain = file("/p/a.jpg")
    (cleaned, same), counts, notes = split_outputs(
        chain.from_iterable(map(clean_own_captions, [replace(plain, captions=texts), plain]))
    )
    assert cleaned == replace(plain, captions=("a dog", "a cat", *["a bird"] * 98)) and same is plain
    assert counts == {"captions_with_marks": 1, "captions_without_words": 3, "captions_over_limit": 2}
    assert notes == [("captions_without_words", "/p/a.jpg"), ("captions_over_limit", "/p/a.jpg")]


def test_in_a_pipeline(tmp_path, local_pipeline):
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,a dog\nb.jpg,a cat\na.jpg,a puppy\n")
    with local_pipeline() as pipeline:
        joined = (
            pipeline | beam.Create([file("/p/a.jpg")]) | JoinCaptions(read_captions(str(tmp_path / "captions.csv")))
        )
        assert_that(joined.main, equal_to([InputWithCaptions(file("/p/a.jpg"), ("a dog", "a puppy"))]), "Main")
        counts = joined.counts | beam.Flatten() | beam.CombinePerKey(sum)
        expected = [("caption_rows", 3), ("caption_lines_unreadable", 0), ("captions_without_picture", 1)]
        assert_that(counts, equal_to(expected), "Counts")
        notes = joined.notes | "FlattenNotes" >> beam.Flatten()
        assert_that(notes, equal_to([("captions_without_picture", "b.jpg")]), "Notes")


def test_without_a_caption_file_inputs_keep_their_own_captions(local_pipeline):
    own = InputFile("/p/a.tar!/a.jpg", 1, 1.0, captions=("a dog",))
    with local_pipeline() as pipeline:
        joined = pipeline | beam.Create([own]) | JoinCaptions(None)
        assert_that(joined.main, equal_to([InputWithCaptions(own, ("a dog",))]))
