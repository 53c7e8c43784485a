"""`captionbeam export --format xmp` beside what other programs and people wrote."""

import hashlib
import io
import os
from xml.etree import ElementTree

import pytest
from PIL import Image

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.exports.export import TAKEN_BACK, UNCHANGED, WRITTEN, export
from beam_pipeline.exports.xmp import Packet
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.shards.ledger import DONE, LedgerLine
from training.errors import JobFailed

HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
)
TAIL = " </rdf:RDF>\n</x:xmpmeta>\n"
# As Lightroom writes it beside a raw picture: settings as attributes, a person's words among them.
LIGHTROOM = (
    HEAD
    + """  <rdf:Description rdf:about=""
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    photoshop:SidecarForExtension="CR2"
    crs:Exposure2012="+0.35"/>
"""
    + TAIL
)
# As darktable and digiKam write it: an odd prefix, several descriptions, words in two languages.
PERSONS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    + HEAD
    + """  <rdf:Description xmlns:xap="http://ns.adobe.com/xap/1.0/" rdf:about="" xap:Rating="4">
   <d:subject xmlns:d="http://purl.org/dc/elements/1.1/"><rdf:Bag><rdf:li>Anna</rdf:li></rdf:Bag></d:subject>
  </rdf:Description>
  <rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" rdf:about="">
   <dc:description><rdf:Alt>
    <rdf:li xml:lang="x-default">Anna on the beach</rdf:li><rdf:li xml:lang="de">Anna am Strand</rdf:li>
   </rdf:Alt></dc:description>
   <dc:creator><rdf:Seq><rdf:li>J\u00fcrg</rdf:li></rdf:Seq></dc:creator>
  </rdf:Description>
"""
    + TAIL
)


def captioned(tmp_path, captions, data, name="a.jpg"):
    """A folder with one picture, and a function that exports its caption "a dog"."""
    folder = tmp_path / "photos"
    folder.mkdir()
    path = folder / name
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    evidence = {
        "kinds": ["expected", "presence", "grounding"],
        "words": {"dog": {"expected": 1.0, "presence": 0.9, "grounding": 1.0}},
    }
    picture = CaptionedPicture(sha256, str(path), "a dog", -0.5, (), evidence)
    directory = captions(([picture], [LedgerLine(str(path), 1, 1.0, sha256, DONE)]))

    def run(**options):
        return export(ExportOptions(directory, options.pop("form", "xmp"), in_place=True, **options))

    return folder, run


@pytest.fixture
def photo(tmp_path, captions, jpeg, colours):
    """As `captioned`, of a plain picture."""
    return captioned(tmp_path, captions, jpeg(colours[0]))


def words(path):
    packet = Packet(path.read_bytes())
    names = ("dc:subject", "digiKam:TagsList", "lr:hierarchicalSubject")
    return packet.texts("dc:description"), *(packet.words(name) for name in names)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_words_where_other_programs_look_for_them(photo):
    folder, run = photo
    assert run() == {WRITTEN: 1}
    assert words(folder / "a.xmp") == ({"x-default": "a dog"}, ["dog"], ["dog"], ["dog"])
    for mode in ("skip", "append", "overwrite"):
        assert run(mode=mode) == {UNCHANGED: 1}
    assert run(form=None, remove=True) == {TAKEN_BACK: 1}
    assert names(folder) == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "mode", "described", "encoding"),
    [
        ("a.xmp", "skip", "Anna on the beach", "utf-8"),
        ("a.jpg.xmp", "append", "Anna on the beach a dog", "utf-8"),
        ("a.XMP", "overwrite", "a dog", "utf-8"),
        ("a.xmp", "append", "Anna on the beach a dog", "utf-8-sig"),
        ("a.xmp", "overwrite", "a dog", "utf-16"),
        ("a.xmp", "append", "Anna on the beach a dog", "iso-8859-1"),
    ],
)
def test_words_join_those_of_a_person_and_go_again(photo, name, mode, described, encoding):
    folder, run = photo
    path = folder / name
    before = PERSONS.replace("UTF-8", encoding.removesuffix("-sig")).encode(encoding)
    path.write_bytes(before)
    path.chmod(0o600)
    os.utime(path, (1e9, 1e9))
    assert run(mode=mode) == {WRITTEN: 1}
    assert names(folder) == sorted(["a.jpg", name])
    texts, subject, tags, _ = words(path)
    assert texts == {"x-default": described, "de": "Anna am Strand"}
    assert subject == ["Anna", "dog"] and tags == ["Anna", "dog"]
    assert path.read_bytes()[:4] == before[:4] and path.stat().st_mode & 0o777 == 0o600 and path.stat().st_mtime == 1e9
    assert run(mode=mode) == {UNCHANGED: 1}
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert path.read_bytes() == before
    assert run(remove=True) == {UNCHANGED: 1}


def test_a_file_of_another_picture_is_never_touched(photo):
    folder, run = photo
    (folder / "a.CR2").write_bytes(b"raw")
    (folder / "a.xmp").write_text(LIGHTROOM)
    assert run(mode="overwrite") == {WRITTEN: 1}
    assert (folder / "a.xmp").read_text() == LIGHTROOM
    assert words(folder / "a.jpg.xmp")[0] == {"x-default": "a dog"}
    assert run(mode="overwrite") == {UNCHANGED: 1}
    assert run(form=None, remove=True) == {TAKEN_BACK: 1}
    assert names(folder) == ["a.CR2", "a.jpg", "a.xmp"]


def test_a_file_that_became_another_pictures_gives_our_words_back(photo):
    folder, run = photo
    assert run() == {WRITTEN: 1}
    (folder / "a.CR2").write_bytes(b"raw")
    xmp = (folder / "a.xmp").read_text()
    theirs = LIGHTROOM[LIGHTROOM.index("  <rdf:Description") : LIGHTROOM.index(" </rdf:RDF>")]
    (folder / "a.xmp").write_text(xmp.replace("</rdf:RDF>", theirs + "</rdf:RDF>"))
    assert run() == {WRITTEN: 1}
    assert words(folder / "a.jpg.xmp")[0] == {"x-default": "a dog"}
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert words(folder / "a.xmp") == ({}, [], [], []) and "+0.35" in (folder / "a.xmp").read_text()
    assert names(folder) == ["a.CR2", "a.jpg", "a.xmp"]


@pytest.mark.parametrize("content", [b"mine", None])
def test_a_broken_file_of_another_picture_is_left_to_it(photo, tmp_path, content):
    folder, run = photo
    (folder / "a.CR2").write_bytes(b"raw")
    if content is None:
        (folder / "a.xmp").symlink_to(tmp_path / "none")
    else:
        (folder / "a.xmp").write_bytes(content)
    assert run() == {WRITTEN: 1}
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert names(folder) == ["a.CR2", "a.jpg", "a.xmp"] and not (tmp_path / "none").exists()


def test_the_file_of_a_raw_picture_is_not_that_of_a_name_without_ending(tmp_path, captions, jpeg, colours, caplog):
    folder, run = captioned(tmp_path, captions, jpeg(colours[0]), "a")
    assert run() == {WRITTEN: 1}
    assert run(remove=True) == {TAKEN_BACK: 1}
    (folder / "a.CR2").write_bytes(b"raw")
    (folder / "a.xmp").write_text(LIGHTROOM)
    with pytest.raises(JobFailed):
        run(mode="overwrite")
    assert (folder / "a.xmp").read_text() == LIGHTROOM and "a.xmp may be another file's" in caplog.text


def test_a_new_file_beside_a_raw_picture_has_the_name_of_its_own_picture(photo):
    folder, run = photo
    (folder / "a.NEF").write_bytes(b"raw")
    assert run() == {WRITTEN: 1}
    assert names(folder) == ["a.NEF", "a.jpg", "a.jpg.xmp"]


def test_words_under_either_name_count(photo):
    folder, run = photo
    (folder / "a.jpg.xmp").write_text(PERSONS)
    (folder / "a.xmp").write_text(HEAD + TAIL)
    assert run() == {WRITTEN: 1}
    assert words(folder / "a.xmp")[:2] == ({}, ["Anna", "dog"])
    assert (folder / "a.jpg.xmp").read_text() == PERSONS
    assert run(sidecar_names="full") == {UNCHANGED: 1}  # ours are in the other file already
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert run(sidecar_names="full") == {WRITTEN: 1}
    assert words(folder / "a.jpg.xmp")[1] == ["Anna", "dog"] and words(folder / "a.xmp")[1] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"mine",
        b"<x:xmpmeta",
        b"<a/>",
        PERSONS[:-60].encode(),
        PERSONS.encode("latin-1"),
        PERSONS.encode("utf-16-le")[1:],
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + (HEAD + "&b;" + TAIL).encode(),
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + (HEAD + "&a;" + TAIL).encode(),
        (HEAD + "<a>" * 100_000 + "</a>" * 100_000 + TAIL).encode(),
        b" " * ((32 << 20) + 1),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("name", ["a.xmp", "a.jpg.xmp"])
def test_a_broken_or_hostile_file_is_named_and_stays(photo, caplog, name, content):
    folder, run = photo
    (folder / name).write_bytes(content)
    for options in ({}, {"mode": "overwrite"}, {"remove": True}):
        caplog.clear()
        with pytest.raises(JobFailed, match="1 file could not be exported"):
            run(**options)
        assert caplog.text.count(f"{folder / name}") == 1 and "left alone" in caplog.text
    assert (folder / name).read_bytes() == content and names(folder) == sorted(["a.jpg", name])


def test_a_link_and_a_pipe_are_not_followed(photo, tmp_path, caplog):
    folder, run = photo
    (tmp_path / "rc").write_text(PERSONS)
    (folder / "a.xmp").symlink_to(tmp_path / "rc")
    with pytest.raises(JobFailed):
        run(mode="overwrite")
    assert (tmp_path / "rc").read_text() == PERSONS and "is a link; it is left alone" in caplog.text
    (folder / "a.xmp").unlink()
    os.mkfifo(folder / "a.xmp")
    with pytest.raises(JobFailed):
        run()


def test_a_person_may_change_what_we_wrote_and_keeps_it(photo):
    folder, run = photo
    run()
    path = folder / "a.xmp"
    text = path.read_text().replace(">a dog<", ">my dog Rex<")
    path.write_text(text.replace("<rdf:li>dog</rdf:li>", "<rdf:li>dog</rdf:li><rdf:li>Rex</rdf:li>", 1))
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert words(path)[:2] == ({"x-default": "my dog Rex"}, ["Rex"])


def test_what_others_wrote_stays_however_it_is_spelt(photo):
    folder, run = photo
    before = LIGHTROOM.replace("CR2", "JPG").replace('"+0.35"', "'&#43;0.35'").replace("\n", "\r\n").encode()
    path = folder / "a.xmp"
    path.write_bytes(before)
    assert run() == {WRITTEN: 1}
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n") == 5
    assert run(remove=True) == {TAKEN_BACK: 1}
    assert ElementTree.canonicalize(path.read_bytes()) == ElementTree.canonicalize(before)


@pytest.mark.parametrize(("mode", "described"), [("skip", {}), ("append", {"x-default": "Anna on the beach a dog"})])
def test_words_inside_the_picture_are_not_hidden_by_a_new_file(tmp_path, captions, mode, described):
    exif = Image.Exif()
    exif[270] = "Anna on the beach"
    exif[40094] = "Anna;beach".encode("utf-16-le")
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=exif.tobytes())
    folder, run = captioned(tmp_path, captions, buffer.getvalue())
    assert run(mode=mode) == {WRITTEN: 1}
    assert words(folder / "a.xmp")[:2] == (described, ["Anna", "beach", "dog"])
    assert run(mode=mode) == {UNCHANGED: 1}
