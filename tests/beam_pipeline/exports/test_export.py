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
from beam_pipeline.exports.export import TAKEN_BACK, UNCHANGED, WITHHELD, WRITTEN, export
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
def doubtful(tmp_path, captions, jpeg, colours, edit_document):
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
    made_with = {"confidence": "abc", "min_confidence": 0.5}
    edit_document(Path(directory, "summary.json"), pictures=2, made_with=made_with)
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
    table = read_parquet(str(tmp_path / "out.parquet"))
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
    pictures = [CaptionedPicture(name.encode().hex(), f"/p/{name}", name, -1.0) for name in ("a.jpg", "a.png", "b.jpg")]
    directory = captions((pictures, [line(f"/p/{name}", name.encode().hex()) for name in ("a.jpg", "a.png", "b.jpg")]))
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
        ({"form": None, "output": "x"}, "give --format, one of csv"),
        ({"form": "csv", "remove": True, "output": "x"}, "--remove: .* give --in-place with it"),
        ({"form": "csv", "remove": True, "in_place": True}, "--remove: only for --format txt, xmp, metadata"),
        ({"form": "txt", "remove": True, "in_place": True, "mode": "skip"}, "--mode: .* leave one of them out"),
        ({"form": "csv", "in_place": True}, "--in-place: only for"),
        ({"form": "csv", "output": "x", "mode": "skip"}, "--mode: only for"),
        ({"form": "csv", "output": "photos"}, "is a folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run, options, said):
    with pytest.raises(UserError, match=said):
        run(**options)


def test_a_table_takes_the_place_of_no_picture(run, photos, tmp_path):
    before = everything(photos[0])
    (tmp_path / "link").symlink_to(photos[0] / "dog.jpg")
    for output in ("photos/dog.jpg", "photos/trip/../dog.jpg", "photos/cut.jpg", "link"):
        with pytest.raises(UserError, match=r"--output .* is a picture of the collection"):
            run("csv", output)
    assert everything(photos[0]) == before


def test_unfinished_captions_are_refused(tmp_path):
    with pytest.raises(UserError, match="no summary"):
        export(ExportOptions(str(tmp_path), "csv", str(tmp_path / "x.csv")))


@pytest.mark.parametrize("form", ["txt", "xmp", "metadata", "webdataset"])
def test_a_folder_cannot_be_standard_output(photos, pyexiv2, form):
    with pytest.raises(UserError, match=r"--output -: .* name a folder"):
        export(ExportOptions(photos[1], form, "-"))


@pytest.mark.parametrize("form", ["csv", "parquet", "coco"])
def test_standard_output_has_the_captions_alone(run, photos, tmp_path, form, capfd):
    run(form, "out")
    said = capfd.readouterr().out
    assert export(ExportOptions(photos[1], form, "-")) == {WRITTEN: 3}
    written = capfd.readouterr()
    assert written.err == said.replace(str(tmp_path / "out"), "standard output")
    if form != "parquet":  # which is no text
        assert written.out.encode() == (tmp_path / "out").read_bytes()


def test_where_nothing_can_be_written_one_line_says_so(run, tmp_path):
    with pytest.raises(JobFailed, match=r"cannot be written \(no such file or directory\)"):
        run("csv", "missing/out.csv")


def test_names_that_are_not_unicode_are_exported(captions, tmp_path):
    uri = os.fsdecode(b"/p/\xff.jpg")
    directory = captions(([CaptionedPicture("1a", uri, "a dog", -1.0)], [line(uri, "1a")]))
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
    assert run("metadata", "mirror", mode="overwrite") == {UNCHANGED: 3}


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
    assert run("txt", in_place=True) == {WRITTEN: 3}  # each still is the captioned picture
    assert run("webdataset", "shards") == {WRITTEN: 2}
    assert run(None, in_place=True, remove=True)[TAKEN_BACK] == 3
    assert (folder / "dog.jpg").read_bytes() == before
    assert run("metadata", in_place=True, remove=True) == {UNCHANGED: 3}


@pytest.mark.parametrize("options", [{}, {"mode": "overwrite"}, {"remove": True}])
def test_another_picture_is_never_written_into_whatever_its_mark_says(run, photos, pyexiv2, options):
    run("metadata", in_place=True)
    other = (photos[0] / "trip/cat.jpg").read_bytes()
    (photos[0] / "dog.jpg").write_bytes(other)
    with pytest.raises(JobFailed, match="1 file could not"):
        run("metadata", in_place=True, **options)
    assert (photos[0] / "dog.jpg").read_bytes() == other


@pytest.mark.parametrize("form", ["txt", "xmp", "metadata"])
def test_a_mirror_in_the_place_of_the_pictures_is_refused(run, photos, pyexiv2, tmp_path, form):
    folder, _ = photos
    before = everything(folder)
    (tmp_path / "link").symlink_to("photos")
    for output in ("photos", "link"):
        with pytest.raises(UserError, match="is the pictures' own folder; give --in-place"):
            run(form, output, mode="overwrite")
    assert everything(folder) == before


def test_a_copy_takes_the_place_of_no_other_picture(captions, pyexiv2, tmp_path, jpeg, colours, caplog):
    paths = tmp_path / "p" / "x.jpg", tmp_path / "p" / "q" / "x.jpg"
    paths[1].parent.mkdir(parents=True)
    shas = []
    for path, colour in zip(paths, colours, strict=False):
        path.write_bytes(jpeg(colour))
        shas.append(hashlib.sha256(path.read_bytes()).hexdigest())
    pictures = [CaptionedPicture(sha, str(path), "red", -1.0) for path, sha in zip(paths, shas, strict=True)]
    directory = captions((pictures, [line(path, sha) for path, sha in zip(paths, shas, strict=True)]))
    with pytest.raises(JobFailed, match="1 file could not be exported"):
        export(ExportOptions(directory, "metadata", str(tmp_path / "p"), mode="overwrite", root=str(tmp_path / "p/q")))
    assert f"{paths[1]}: its copy would overwrite {paths[0]}, a picture of the collection" in caplog.text
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] == shas


def test_a_sidecar_is_xml_whatever_a_caption_holds(run, photos):
    from xml.etree import ElementTree

    folder, _ = photos
    run("xmp", in_place=True)
    tree = ElementTree.parse(Path(folder) / "trip/cat.xmp")
    assert '=a cat, <b> & "c"' in [item.text for item in tree.iter() if item.tag.endswith("}li")]


# Beside a person's pictures and texts.


def everything(folder):
    """What lies below a folder, read without following links."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


def test_what_is_written_into_texts_is_taken_back_exactly(run, photos):
    folder, _ = photos
    (folder / "dog.txt").write_bytes("Zürich".encode("utf-16"))
    (folder / "trip/again.txt").write_bytes(b"")
    before = everything(folder)
    assert run("txt", in_place=True) == {UNCHANGED: 2, WRITTEN: 1}
    assert run("txt", in_place=True, mode="append") == {WRITTEN: 2, UNCHANGED: 1}
    assert (folder / "dog.txt").read_text("utf-16") == "Zürich\na dog\n"
    assert run("txt", in_place=True, mode="append") == {UNCHANGED: 3}
    assert run(None, in_place=True, remove=True) == {TAKEN_BACK: 3}
    assert everything(folder) == before
    assert run("txt", in_place=True, remove=True) == {UNCHANGED: 3}
    assert run("txt", in_place=True, mode="overwrite") == {WRITTEN: 3}
    assert (folder / "dog.txt").read_bytes() == b"a dog\n"
    assert run("txt", in_place=True, remove=True) == {TAKEN_BACK: 3}
    assert everything(folder) == before


def test_a_line_of_a_person_that_equals_the_caption_stays(run, photos):
    folder, _ = photos
    (folder / "dog.txt").write_text("a dog\nmine\n")
    assert run("txt", in_place=True, mode="append") == {WRITTEN: 2, UNCHANGED: 1}
    (folder / "trip/cat.txt").write_text("mine too\n")
    assert run("txt", in_place=True, remove=True) == {TAKEN_BACK: 1, UNCHANGED: 2}
    texts = {name: data for name, data in everything(folder).items() if name.endswith(".txt")}
    assert texts == {"dog.txt": b"a dog\nmine\n", "trip/cat.txt": b"mine too\n"}


def test_texts_in_an_encoding_that_nobody_knows_are_named_and_stay(run, photos, caplog):
    folder, _ = photos
    (folder / "dog.txt").write_bytes("mine".encode("utf-16-le"))
    with pytest.raises(JobFailed, match="1 file could not be exported"):
        run("txt", in_place=True, mode="append")
    assert f"{folder}/dog.jpg: {folder}/dog.txt: is in an unknown encoding" in caplog.text
    assert (folder / "dog.txt").read_bytes() == "mine".encode("utf-16-le")
    assert (folder / "trip/cat.txt").exists()


@pytest.mark.parametrize("form", ["txt", "xmp", "metadata"])
def test_nothing_is_written_where_the_captioned_picture_is_not(
    captions, tmp_path, jpeg, colours, pyexiv2, form, caplog
):
    data = jpeg(colours[0])
    sha256 = hashlib.sha256(data).hexdigest()
    (tmp_path / "other.jpg").write_bytes(jpeg(colours[5]))
    (tmp_path / "there.jpg").write_bytes(data)
    absent = [
        f"{tmp_path}/other.jpg",
        f"{tmp_path}/gone/a.jpg",
        "a.jpg",
        f"{tmp_path}/in/../there.jpg",
        "file:///a.jpg",
        "a\0.jpg",
    ]
    lines = [line(uri, sha256, DUPLICATE) for uri in absent]
    there = line(f"{tmp_path}/there.jpg", sha256)
    directory = captions(([CaptionedPicture(sha256, there.uri, "a dog", -1.0)], [there, *lines]))
    before = everything(tmp_path)
    with pytest.raises(JobFailed, match="6 files could not be exported"):
        export(ExportOptions(directory, form, in_place=True))
    changed = {name for name, data in everything(tmp_path).items() if before.get(name) != data}
    changed.discard("captions/exported_texts.jsonl")
    assert changed == {"there.jpg" if form == "metadata" else f"there.{form}"} and not (tmp_path / "gone").exists()
    for uri in absent:
        assert f"{uri}: " in caplog.text


@pytest.mark.parametrize("mode", ["skip", "append", "overwrite"])
def test_a_link_in_the_place_of_a_text_is_not_written_through(run, photos, tmp_path, mode):
    folder, _ = photos
    (tmp_path / "rc").write_text("export X=1\n")
    (folder / "dog.txt").symlink_to(tmp_path / "rc")
    (folder / "trip/cat.txt").symlink_to(tmp_path / "none")
    os.mkfifo(folder / "trip/again.txt")
    if mode == "skip":
        assert run("txt", in_place=True) == {UNCHANGED: 3}
    else:
        with pytest.raises(JobFailed, match="3 files could not be exported"):
            run("txt", in_place=True, mode=mode)
    assert (tmp_path / "rc").read_text() == "export X=1\n" and not (tmp_path / "none").exists()
    assert (folder / "dog.txt").is_symlink() and (folder / "trip/cat.txt").is_symlink()


@pytest.mark.parametrize("form", ["txt", "xmp", "metadata"])
def test_a_mirror_writes_through_no_link(run, pyexiv2, tmp_path, form, caplog):
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    output.mkdir()
    elsewhere.mkdir()
    (elsewhere / "rc").write_text("mine")
    ending = "jpg" if form == "metadata" else form
    (output / "trip").symlink_to(elsewhere)
    (output / f"dog.{ending}").symlink_to(elsewhere / "rc")
    with pytest.raises(JobFailed, match="3 files could not be exported"):
        run(form, "out", mode="overwrite")
    assert everything(elsewhere) == {"rc": b"mine"}
    assert f"{output}/trip is a link" in caplog.text and f"{output}/dog.{ending} is a link" in caplog.text
    (tmp_path / "named").symlink_to("elsewhere")  # a link that the user names is followed
    assert run(form, "named") == {WRITTEN: 3}
    assert len(everything(elsewhere)) == 4


def test_a_dry_run_names_what_would_be_done_and_does_nothing(run, photos, pyexiv2, tmp_path, capsys):
    folder, _ = photos
    (folder / "dog.txt").write_text("mine\n")
    (tmp_path / "old.csv").write_text("old")

    def told(form, output=None, **options):
        before = everything(tmp_path)
        done = run(form, output, dry_run=True, **options)
        assert everything(tmp_path) == before
        said = capsys.readouterr().out.splitlines()
        assert said[-1].endswith("a dry run: nothing was changed")
        return done, said[:-2]

    assert told("txt", in_place=True, mode="append") == (
        {WRITTEN: 3},
        [f"would change {folder}/dog.txt", f"would make {folder}/trip/again.txt", f"would make {folder}/trip/cat.txt"],
    )
    assert told("txt", in_place=True)[0] == {UNCHANGED: 1, WRITTEN: 2}
    assert told("metadata", in_place=True)[1][0] == f"would change {folder}/dog.jpg"
    assert told("metadata", "mirror")[1][0] == f"would make {tmp_path}/mirror/dog.jpg"
    assert export(ExportOptions(photos[1], "csv", "/dev/null", dry_run=True)) == {WRITTEN: 3}
    assert capsys.readouterr().out.startswith("would write to /dev/null\n")
    assert told("csv", "old.csv") == ({WRITTEN: 3}, [f"would change {tmp_path}/old.csv"])
    assert told("webdataset", "shards", samples=1)[1][1] == f"would make {tmp_path}/shards/captions-000001.tar"
    run("txt", in_place=True)
    capsys.readouterr()
    assert told(None, in_place=True, remove=True) == (
        {TAKEN_BACK: 2, UNCHANGED: 1},
        [f"would remove {folder}/trip/again.txt", f"would remove {folder}/trip/cat.txt"],
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_text_that_cannot_be_replaced_is_named_and_stays_and_a_dry_run_says_so(run, photos, caplog, dry_run):
    folder, _ = photos
    for name in ("dog", "trip/cat"):
        (folder / f"{name}.txt").write_text("mine\n")
    (folder / "dog.txt").chmod(0o444)
    os.link(folder / "trip/cat.txt", folder / "second.txt")
    with pytest.raises(JobFailed, match="2 files could not be exported"):
        run("txt", in_place=True, mode="append", dry_run=dry_run)
    assert f"{folder}/dog.jpg: {folder}/dog.txt: is read-only; it is left alone" in caplog.text
    assert f"{folder}/trip/cat.jpg: {folder}/trip/cat.txt: has 2 hard links" in caplog.text
    assert (folder / "dog.txt").read_text() == (folder / "second.txt").read_text() == "mine\n"
    assert (folder / "trip/again.txt").exists() == (not dry_run)
    if not dry_run:
        (folder / "trip/again.txt").chmod(0o444)
        with pytest.raises(JobFailed, match="1 file could not be exported"):
            run("txt", in_place=True, remove=True)
        assert (folder / "trip/again.txt").exists()


def test_what_was_moved_since_is_named_when_it_cannot_be_taken_back(run, photos, caplog):
    folder, _ = photos
    run("xmp", in_place=True)
    (folder / "dog.jpg").rename(folder / "moved.jpg")
    assert run(None, in_place=True, remove=True) == {TAKEN_BACK: 3}
    assert not caplog.text  # a copy of it is there
    (folder / "trip/again.jpg").unlink()
    assert run(None, in_place=True, remove=True) == {UNCHANGED: 3}
    assert f"1 captioned picture is no longer there, such as {folder}/trip/again.jpg; if you moved it" in caplog.text


def test_names_of_sidecars_can_be_those_of_the_files(run, photos):
    folder, _ = photos
    assert run("txt", in_place=True, sidecar_names="full") == {WRITTEN: 3}
    assert (folder / "trip/cat.jpg.txt").exists() and not (folder / "trip/cat.txt").exists()
    assert run(None, in_place=True, remove=True) == {TAKEN_BACK: 3}
    assert not (folder / "trip/cat.jpg.txt").exists()
    (folder / "trip/cat.jpg.txt").write_text("mine\n")
    assert run("txt", in_place=True, mode="append") == {WRITTEN: 3}
    assert (folder / "trip/cat.jpg.txt").read_text() == 'mine\n=a cat, <b> & "c"\n'
    assert not (folder / "trip/cat.txt").exists()


def test_originals_keep_all_that_belongs_to_them(run, photos, pyexiv2, caplog):
    folder, _ = photos
    (folder / "dog.jpg").chmod(0o640)
    os.setxattr(folder / "dog.jpg", "user.rating", b"5")
    os.utime(folder / "dog.jpg", (1e9, 1e9))
    (folder / "trip/again.jpg").rename(folder / "real.jpg")
    (folder / "trip/again.jpg").symlink_to("../real.jpg")
    os.link(folder / "trip/cat.jpg", folder / "second.jpg")
    before = (folder / "second.jpg").read_bytes()
    with pytest.raises(JobFailed, match="1 file could not be exported"):
        run("metadata", in_place=True)
    status = (folder / "dog.jpg").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 1e9)
    assert os.getxattr(folder / "dog.jpg", "user.rating") == b"5"
    assert (folder / "trip/again.jpg").is_symlink() and b"a dog" in (folder / "real.jpg").read_bytes()
    assert (folder / "second.jpg").samefile(folder / "trip/cat.jpg") and (folder / "second.jpg").read_bytes() == before
    assert "trip/cat.jpg: has 2 hard links" in caplog.text
