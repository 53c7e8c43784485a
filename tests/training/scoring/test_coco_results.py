import json
import re

import pytest

from training.errors import UserError
from training.scoring.coco_results import match_results, read_results, refuse_marks, write_results

FORM = re.escape('expected [{"image_id": "name.jpg", "caption": "a dog runs"}, ...]')


@pytest.fixture
def written(tmp_path):
    """Function (document) -> path of a file that holds it as JSON."""

    def write(document):
        path = tmp_path / "captions.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return str(path)

    return write


def test_results_are_read_as_they_are_written(tmp_path):
    path = str(tmp_path / "captions.json")
    write_results(path, {"b.jpg": "a cat", "\u00fc.jpg": "a dog"})
    assert json.loads((tmp_path / "captions.json").read_text(encoding="utf-8")) == [
        {"image_id": "b.jpg", "caption": "a cat"},
        {"image_id": "\u00fc.jpg", "caption": "a dog"},
    ]
    assert read_results(path) == {"b.jpg": "a cat", "\u00fc.jpg": "a dog"}


def test_numbers_are_names_and_decomposed_letters_are_composed(written):
    path = written([{"image_id": 42, "caption": "a"}, {"image_id": "u\u0308", "caption": "b", "score": 1}])
    assert read_results(path) == {"42": "a", "\u00fc": "b"}


def test_whole_floats_are_numbers_too_and_half_a_surrogate_pair_is_no_letter(written):
    path = written([{"image_id": 42.0, "caption": "a dog"}, {"image_id": "b\ud800", "caption": "a \udc00cat"}])
    assert read_results(path) == {"42": "a dog", "b?": "a ?cat"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_encodings_of_json_are_known(tmp_path, encoding):
    path = tmp_path / "captions.json"
    path.write_bytes('[{"image_id": "ü", "caption": "a dog"}]'.encode(encoding))
    assert read_results(str(path)) == {"ü": "a dog"}


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b"\xff{", b"", b"[1" + b"0" * 5000 + b"]", b'[{"image_id": "\xe9"}]']
)
def test_what_is_no_json_costs_one_line(tmp_path, content):
    path = tmp_path / "captions.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"captions\.json: (not JSON|not UTF-8|empty)") as caught:
        read_results(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "captions.json: not JSON"),
        ([{"image_id": float("nan"), "caption": "b"}], "not JSON .NaN is no number"),
        ([{"image_id": 1.5, "caption": "b"}], "entry 1 of 1 has no image_id with a caption"),
        ([{"caption": "b"}, {"image_id": "a", "caption": "b"}, None], "entry 1 and 1 more of 3 has no image_id with"),
        ({"annotations": [{"image_id": 1, "caption": "b"}]}, "not a list of captions"),
        ([], "captions.json: not a list of captions; " + FORM),
        ({"a.jpg": "a dog"}, "captions.json: not a list of captions; " + FORM),
        ([{"image_id": "a", "caption": "b"}, "a dog"], "entry 2 of 2 has no image_id with a caption; " + FORM),
        ([{"image_id": "a"}], "entry 1 of 1 has no image_id with a caption"),
        ([{"image_id": True, "caption": "b"}], "entry 1 of 1 has no image_id with a caption"),
        ([{"image_id": "a", "caption": ["b"]}], "entry 1 of 1 has no image_id with a caption"),
        ([{"image_id": 1, "caption": "b"}, {"image_id": "1", "caption": "c"}], "entry 2 is a second caption of 1"),
    ],
)
def test_a_file_of_another_form_is_told(written, document, said):
    with pytest.raises(UserError, match=said) as caught:
        read_results(written(document))
    assert caught.value.exit_status == 2 and "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match=r"--captions .*none.json: cannot be read \(No such file"):
        read_results(str(tmp_path / "none.json"))


NAMES = ["/x/one.jpg", "two.jpg", "u\u0308.v2.jpg"]


def test_ids_fit_names_whole_without_folder_or_without_ending():
    results = {"one": "a", "two.jpg": "b", "\u00fc.v2": "c", "three": "d", "two.png": "e"}
    generated, left_over = match_results(results, NAMES, "f.json", "l.txt")
    assert generated == {"/x/one.jpg": "a", "two.jpg": "b", "u\u0308.v2.jpg": "c"}
    assert left_over == ["three", "two.png"]
    assert match_results({"/x/one.jpg": "a"}, NAMES[:1], "f.json", "l.txt")[0] == {"/x/one.jpg": "a"}
    assert match_results({"one.jpg": "a"}, NAMES[:1], "f.json", "l.txt")[0] == {"/x/one.jpg": "a"}


def test_a_whole_name_goes_before_a_shortened_one():
    names = ["a.jpg", "x/a.jpg"]
    assert match_results({"a.jpg": "1", "x/a.jpg": "2"}, names, "f.json", "l.txt")[0] == {"a.jpg": "1", "x/a.jpg": "2"}


@pytest.mark.parametrize(
    ("results", "names", "said"),
    [
        ({"one": "a"}, NAMES, "no caption for 2 of the 3 pictures of l.txt, such as two.jpg"),
        ({"a": "x"}, ["a.jpg", "a.png"], "image_id a fits a.jpg and a.png of l.txt"),
        ({"a": "x", "a.jpg": "y"}, ["a.jpg"], "image_id a.jpg is a second caption of a.jpg"),
    ],
)
def test_captions_that_do_not_fit_the_list_are_told(results, names, said):
    with pytest.raises(UserError, match=rf"--captions f.json: {said}"):
        match_results(results, names, "f.json", "l.txt")


@pytest.mark.parametrize(
    "mark",
    [
        "<end>",
        "<START>",
        "<unk>",
        "startseq",
        "endseq",
        "<pad>",
        "</s>",
        "<s>",
        "<|endoftext|>",
        "[UNK]",
        "[SEP]",
        "unk",
    ],
)
def test_captions_with_a_decoders_mark_are_refused(mark):
    with pytest.raises(
        UserError, match=r"--captions f: 1 of 2 captions with a mark .* such as (.*) in that of b.jpg"
    ) as e:
        refuse_marks({"a.jpg": "a dog", "b.jpg": f"a dog {mark}"}, "--captions f")
    assert mark in str(e.value)


def test_plain_words_are_no_marks():
    refuse_marks({"a.jpg": "the end of a start line , a padded seat [ s ] mask chunk <3 SOS"}, "--captions f")
