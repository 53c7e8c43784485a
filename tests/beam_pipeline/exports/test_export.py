"""`captionbeam export` over a directory of captions written by hand: what each format holds, and where it is."""

import csv
import hashlib
import json
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.exports.export import UNCHANGED, WITHHELD, WRITTEN, export
from beam_pipeline.inputs.input_file import MEMBER_SEPARATOR
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.runtime.tables import read_parquet, unescape_cell
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED, LedgerLine
from training.errors import JobFailed, UserError

EVIDENCE = {
    "kinds": ["expected", "presence", "grounding"],
    "words": {
        "dog": {"expected": 1.0, "presence": 0.9, "grounding": 1.0},
        "a": {"expected": 1.0, "presence": 0.99, "grounding": 0.0},
        "grass": {"expected": 0.2, "presence": 0.4, "grounding": 1.0},
        "cat": {"expected": 0.1, "presence": 0.05, "grounding": -1.0},
    },
}


def line(uri, sha256, outcome=DONE) -> LedgerLine:
    return LedgerLine(str(uri), 1, 1.0, sha256, outcome, *(("decode", "cut") if outcome == REJECTED else ()))


@pytest.fixture
def photos(tmp_path, captions, jpeg, colours):
    """Two pictures, a copy of the first found by a later run, and a broken file: (folder, captions directory)."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    dog, cat = jpeg(colours[0]), jpeg(colours[9])
    for name, data in (("dog.jpg", dog), ("trip/cat.jpg", cat), ("trip/again.jpg", dog), ("cut.jpg", b"no")):
        (folder / name).write_bytes(data)
    shas = [hashlib.sha256(data).hexdigest() for data in (dog, cat)]
    pictures = [
        CaptionedPicture(shas[0], str(folder / "dog.jpg"), "a dog", -0.5, (), EVIDENCE),
        CaptionedPicture(shas[1], str(folder / "trip/cat.jpg"), '=a cat, <b> & "c"', -1.25, ("cut",), EVIDENCE),
    ]
    first = [line(folder / "dog.jpg", shas[0]), line(folder / "trip/cat.jpg", shas[1])]
    later = [line(folder / "trip/again.jpg", shas[0], DUPLICATE), line(folder / "cut.jpg", "", REJECTED)]
    return folder, captions((pictures, first), ([], later))


@pytest.fixture
def run(photos, tmp_path):
    """Exports the photos' captions; returns what became of the files."""

    def run(form, output=None, **options):
        return export(ExportOptions(photos[1], form, output and str(tmp_path / output), **options))

    return run


def test_every_file_that_shows_a_picture_has_a_row(run, photos, tmp_path, capsys):
    folder, _ = photos
    assert run("csv", "out.csv") == {WRITTEN: 3}
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["uri"] for row in rows] == [
        str(folder / name) for name in ("dog.jpg", "trip/again.jpg", "trip/cat.jpg")
    ]
    assert [unescape_cell(row["caption"]) for row in rows] == ["a dog", "a dog", '=a cat, <b> & "c"']
    assert rows[2]["caption"].startswith("'=") and rows[2]["flags"] == "cut" and rows[2]["score"] == "-1.2500"
    assert [row["duplicate"] for row in rows] == ["0", "1", "0"]
    assert rows[0]["keywords"] == "dog;grass"
    said = capsys.readouterr().out
    assert "4 files = 3 captioned (1 duplicate) + 1 rejected" in said and "3 written" in said


@pytest.fixture
def doubtful(tmp_path, captions, jpeg, colours):
    """Two pictures of different confidence, the second flagged and shown by two files: (folder, captions directory)."""
    folder = tmp_path / "photos"
    folder.mkdir()
    dog, cat = jpeg(colours[0]), jpeg(colours[9])
    for name, data in (("dog.jpg", dog), ("cat.jpg", cat), ("cat2.jpg", cat)):
        (folder / name).write_bytes(data)
    shas = [hashlib.sha256(data).hexdigest() for data in (dog, cat)]
    pictures = [
        CaptionedPicture(shas[0], str(folder / "dog.jpg"), "a dog", -0.5, (), EVIDENCE, confidence=0.75),
        CaptionedPicture(shas[1], str(folder / "cat.jpg"), "a cow", -1.5, ("low_confidence",), confidence=0.25),
    ]
    lines = [line(folder / "dog.jpg", shas[0]), line(folder / "cat.jpg", shas[1])]
    directory = captions((pictures, [*lines, line(folder / "cat2.jpg", shas[1], DUPLICATE)]))
    summary = {"pictures": 2, "made_with": {"confidence": "abc", "min_confidence": 0.5}, "evidence": []}
    Path(directory, "summary.json").write_text(json.dumps(summary))
    return folder, directory


def test_a_caption_of_low_confidence_leaves_its_row_and_its_flag_in_tables(doubtful, tmp_path, capsys):
    _, directory = doubtful
    assert export(ExportOptions(directory, "csv", str(tmp_path / "out.csv"))) == {WRITTEN: 1, WITHHELD: 2}
    with open(tmp_path / "out.csv", newline="") as file:
        cat, cat2, dog = csv.DictReader(file)
    assert (dog["caption"], dog["confidence"], dog["flags"]) == ("a dog", "0.7500", "")
    for row in (cat, cat2):
        assert (row["caption"], row["confidence"], row["flags"]) == ("", "0.2500", "low_confidence")
    assert f"3 captioned files = 1 written + 0 unchanged + 0 failed + 2 {WITHHELD}" in capsys.readouterr().out
    export(ExportOptions(directory, "parquet", str(tmp_path / "out.parquet")))
    table = read_parquet((tmp_path / "out.parquet").read_bytes())
    assert [(row["caption"], row["confidence"]) for row in table] == [(None, 0.25), (None, 0.25), ("a dog", 0.75)]


@pytest.mark.parametrize("form", ["coco", "txt", "xmp", "webdataset"])
def test_a_caption_of_low_confidence_is_given_to_no_other_program(doubtful, tmp_path, form, capsys):
    _, directory = doubtful
    withheld = 1 if form == "webdataset" else 2  # distinct pictures there
    output = tmp_path / "out"
    assert export(ExportOptions(directory, form, str(output))) == {WRITTEN: 1, WITHHELD: withheld}
    written = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in written if path.name != ".lock")
    assert b"a dog" in content and b"a cow" not in content


def test_the_least_confidence_of_an_export_goes_before_the_flags(doubtful, tmp_path):
    _, directory = doubtful

    def exported(**options):
        export(ExportOptions(directory, "coco", str(tmp_path / "out.json"), **options))
        return [one["caption"] for one in json.loads((tmp_path / "out.json").read_text())]

    assert exported(min_confidence=0.0) == ["a cow", "a cow", "a dog"]
    assert exported(min_confidence=0.25) == ["a cow", "a cow", "a dog"]
    assert exported(min_confidence=0.8) == []


def test_captions_without_confidence_cannot_be_chosen_by_it(run):
    with pytest.raises(UserError, match=r"--min-confidence 0.5: the captions of .* carry no confidence; caption again"):
        run("csv", "out.csv", min_confidence=0.5)
    assert run("csv", "out.csv", min_confidence=0.0) == {WRITTEN: 3}


def test_text_files_mirror_the_folder_and_a_second_run_leaves_them(run, tmp_path):
    assert run("txt", "texts") == {WRITTEN: 3}
    made = {str(path.relative_to(tmp_path / "texts")): path for path in (tmp_path / "texts").rglob("*.txt")}
    assert sorted(made) == ["dog.txt", "trip/again.txt", "trip/cat.txt"]
    assert made["trip/again.txt"].read_text() == "a dog\n"
    made["dog.txt"].write_text("mine\n")
    made["trip/cat.txt"].unlink()  # a run that was killed
    assert run("txt", "texts") == {UNCHANGED: 2, WRITTEN: 1}
    assert made["dog.txt"].read_text() == "mine\n"
    assert run("txt", "texts", mode="append") == {WRITTEN: 1, UNCHANGED: 2}
    assert made["dog.txt"].read_text() == "mine\na dog\n"
    assert run("txt", "texts", mode="append") == {UNCHANGED: 3}
    assert run("txt", "texts", mode="overwrite") == {WRITTEN: 1, UNCHANGED: 2}
    assert made["dog.txt"].read_text() == "a dog\n"


def test_text_files_beside_the_pictures_only_where_asked_for(run, photos):
    folder, _ = photos
    with pytest.raises(UserError, match="either --output or --in-place"):
        run("txt")
    assert run("xmp", in_place=True) == {WRITTEN: 3}
    assert b"a dog" in (folder / "trip/again.xmp").read_bytes()


def test_pictures_that_differ_in_their_ending_keep_their_texts_apart(captions, tmp_path):
    pictures = [CaptionedPicture(name, f"/p/{name}", name, -1.0) for name in ("a.jpg", "a.png", "b.jpg")]
    directory = captions((pictures, [line(f"/p/{name}", name) for name in ("a.jpg", "a.png", "b.jpg")]))
    export(ExportOptions(directory, "txt", str(tmp_path / "texts")))
    assert {path.name: path.read_text() for path in (tmp_path / "texts").iterdir()} == {
        "a.jpg.txt": "a.jpg\n",
        "a.png.txt": "a.png\n",
        "b.txt": "b.jpg\n",
    }


def test_members_of_an_archive_are_mirrored_and_never_written_into(captions, tmp_path, jpeg, colours):
    archive, data = tmp_path / "in" / "a.zip", jpeg(colours[3])
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.jpg", data)
    uri, sha256 = f"{archive}{MEMBER_SEPARATOR}../../evil.jpg", hashlib.sha256(data).hexdigest()
    directory = captions(([CaptionedPicture(sha256, uri, "red", -1.0)], [line(uri, sha256)]))
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    export(ExportOptions(directory, "txt", str(tmp_path / "out" / "texts"), root=str(archive.parent)))
    made = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert made == [tmp_path / "out" / "texts" / "a.zip!" / "%2e%2e" / "%2e%2e" / "evil.txt"]
    assert before == {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    with pytest.raises(JobFailed, match="could not be exported"):
        export(ExportOptions(directory, "txt", in_place=True))
    export(ExportOptions(directory, "webdataset", str(tmp_path / "out" / "shards")))
    with tarfile.open(tmp_path / "out" / "shards" / "captions-000000.tar") as shard:
        member = shard.extractfile(f"{sha256}.jpg")
        assert member is not None and member.read() == data


def test_coco_rows_name_files_below_their_common_folder(run, tmp_path):
    run("coco", "results.json")
    assert json.loads((tmp_path / "results.json").read_text()) == [
        {"image_id": "dog.jpg", "caption": "a dog"},
        {"image_id": "trip/again.jpg", "caption": "a dog"},
        {"image_id": "trip/cat.jpg", "caption": '=a cat, <b> & "c"'},
    ]


def test_shards_hold_each_picture_once_and_are_made_again_only_where_they_differ(run, photos, tmp_path):
    folder, _ = photos
    assert run("webdataset", "shards", samples=1) == {WRITTEN: 2}
    first, second = (tmp_path / "shards" / f"captions-{number:06d}.tar" for number in range(2))
    with tarfile.open(first) as archive:
        content = {name.partition(".")[2]: archive.extractfile(name).read() for name in archive.getnames()}
    assert content["jpg"] == (folder / "dog.jpg").read_bytes() and content["txt"] == b"a dog"
    assert json.loads(content["json"])["uris"] == [str(folder / "dog.jpg"), str(folder / "trip/again.jpg")]
    before = first.read_bytes(), second.read_bytes()
    second.write_bytes(before[1][:700])  # damaged
    assert run("webdataset", "shards", samples=1) == {UNCHANGED: 1, WRITTEN: 1}
    assert (first.read_bytes(), second.read_bytes()) == before
    assert run("webdataset", "shards", samples=1, keyword_presence=0.5) == {WRITTEN: 2}


def test_a_picture_that_changed_is_named_and_left_out_until_it_is_back(run, photos, tmp_path, caplog):
    folder, _ = photos
    cat = (folder / "trip/cat.jpg").read_bytes()
    (folder / "trip/cat.jpg").write_bytes(b"other")
    with pytest.raises(JobFailed, match="could not be exported"):
        run("webdataset", "shards")
    (folder / "trip/cat.jpg").write_bytes(cat)
    assert run("webdataset", "shards") == {WRITTEN: 2}


def test_a_copy_that_is_lost_is_read_from_another_file(run, photos, tmp_path):
    folder, _ = photos
    (folder / "dog.jpg").unlink()
    assert run("webdataset", "shards") == {WRITTEN: 2}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "csv", "in_place": True}, "--in-place: only for"),
        ({"form": "csv", "output": "x", "mode": "skip"}, "--mode: only for"),
        ({"form": "xmp", "output": "x", "mode": "append"}, "not merged"),
        ({"form": "csv", "output": "photos"}, "is a folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, options, said):
    with pytest.raises(UserError, match=said):
        run(**options)


def test_unfinished_captions_are_refused(tmp_path):
    with pytest.raises(UserError, match="no summary"):
        export(ExportOptions(str(tmp_path), "csv", str(tmp_path / "x.csv")))


def test_where_nothing_can_be_written_one_line_says_so(run, tmp_path):
    with pytest.raises(JobFailed, match=r"cannot be written \(no such file or directory\)"):
        run("csv", "missing/out.csv")


def test_names_that_are_not_unicode_are_exported(captions, tmp_path):
    uri = os.fsdecode(b"/p/\xff.jpg")
    directory = captions(([CaptionedPicture("one", uri, "a dog", -1.0)], [line(uri, "one")]))
    for form in ("csv", "parquet", "coco"):
        export(ExportOptions(directory, form, str(tmp_path / form)))
        assert b"dcff" in (tmp_path / form).read_bytes()
    export(ExportOptions(directory, "txt", str(tmp_path / "texts")))
    assert os.listdir(os.fsencode(tmp_path / "texts")) == [b"\xff.txt"]


def scan(jpeg: bytes) -> bytes:
    """JPEG -> all from its quantisation tables on, which is what its pixels are made of."""
    return jpeg[jpeg.index(b"\xff\xdb") :]


def test_copies_carry_the_metadata_and_the_pictures_stay(run, photos, pyexiv2, tmp_path):
    folder, _ = photos
    before = {path: path.read_bytes() for path in folder.rglob("*.jpg")}
    assert run("metadata", "mirror") == {WRITTEN: 3}
    assert before == {path: path.read_bytes() for path in folder.rglob("*.jpg")}
    copy = (tmp_path / "mirror/trip/cat.jpg").read_bytes()
    assert scan(copy) == scan(before[folder / "trip/cat.jpg"])
    with pyexiv2.ImageData(copy) as image:
        assert image.read_xmp()["Xmp.dc.description"] == {'lang="x-default"': '=a cat, <b> & "c"'}
        assert image.read_xmp()["Xmp.dc.subject"] == ["dog", "grass"]
        assert image.read_iptc()["Iptc.Application2.Keywords"] == ["dog", "grass"]
    assert run("metadata", "mirror") == {UNCHANGED: 3}
    assert run("metadata", "mirror", mode="overwrite") == {WRITTEN: 3}


def test_originals_are_written_into_on_request_once_and_keep_their_rights(run, photos, pyexiv2):
    folder, _ = photos
    (folder / "dog.jpg").chmod(0o640)
    before = (folder / "dog.jpg").read_bytes()
    assert run("metadata", in_place=True) == {WRITTEN: 3}
    after = (folder / "dog.jpg").read_bytes()
    assert after != before and scan(after) == scan(before)
    assert stat.S_IMODE((folder / "dog.jpg").stat().st_mode) == 0o640
    for mode in (None, "append", "overwrite"):
        assert run("metadata", in_place=True, mode=mode) == {UNCHANGED: 3}


def test_a_mirror_that_would_replace_the_pictures_is_refused(run, photos, pyexiv2):
    folder, _ = photos
    before = {path: path.read_bytes() for path in folder.rglob("*.jpg")}
    with pytest.raises(JobFailed, match="3 files could not be exported"):
        run("metadata", "photos", mode="overwrite")
    assert before == {path: path.read_bytes() for path in folder.rglob("*.jpg")}


def test_a_sidecar_is_xml_whatever_a_caption_holds(run, photos):
    from xml.etree import ElementTree

    folder, _ = photos
    run("xmp", in_place=True)
    tree = ElementTree.parse(Path(folder) / "trip/cat.xmp")
    assert '=a cat, <b> & "c"' in [item.text for item in tree.iter() if item.tag.endswith("}li")]
