"""Human captions joined with their pictures, by image name."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.shards.caption_join import InputWithCaptions, JoinCaptions, match_captions, read_caption_rows
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
    (tmp_path / "captions.csv").write_text("image,caption\nx/a.jpg,a dog\nb.jpg\nb.jpg,a cat\n")
    rows, counts, notes = split_outputs(read_caption_rows(read_captions(str(tmp_path / "captions.csv"))))
    assert rows == [(b"a.jpg", CaptionRow("x/a.jpg", "a dog", 2)), (b"b.jpg", CaptionRow("b.jpg", "a cat", 4))]
    assert counts == {"caption_rows": 2, "caption_lines_unreadable": 1}
    assert [kind for kind, _ in notes] == ["caption_lines_unreadable"]


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
        assert (joined.counts, joined.notes) == ((), ())
