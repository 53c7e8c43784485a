import contextlib
import hashlib
import io
import random
import struct
import zlib

import pytest
from PIL import Image

from beam_pipeline.exports.embedded import UnwritableMetadata, write_words
from beam_pipeline.exports.embedded import remove_words as remove
from beam_pipeline.exports.embedded_words import words_in
from beam_pipeline.exports.xmp import Packet
from beam_pipeline.exports.xmp_merge import Elsewhere, Words
from beam_pipeline.inputs.image_content import xmp_packets
from beam_pipeline.inputs.picture_parts import parts
from beam_pipeline.inputs.written_mark import states_before

pytestmark = pytest.mark.usefixtures("pyexiv2")

FORMS = ("JPEG", "PNG", "WEBP", "TIFF")
CAPTION, KEYWORDS = "Iptc.Application2.Caption", "Iptc.Application2.Keywords"
CHARSET, CITY = "Iptc.Envelope.CharacterSet", "Iptc.Application2.City"
DESCRIPTION = "Exif.Image.ImageDescription"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def words(data, caption="a dog", keywords=("dog", "grass"), mode="skip", model_id="m1"):
    return Words(caption, keywords, mode, model_id, sha256(data))


def written(data, *args, **settings):
    return write_words(data, words(data, *args, **settings))


def remove_words(data):
    """Takes back what was written, whatever the picture was."""
    states = states_before(data)
    return remove(data, states[0] if states else sha256(data))


def drawn(form, colour=(200, 10, 10), **settings):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), colour).save(buffer, form, **settings)
    return buffer.getvalue()


@pytest.fixture
def picture(pyexiv2):
    """Draws a picture with metadata: IPTC and EXIF by tag, their characters as bytes, and XMP."""

    def draw(form="JPEG", iptc=None, exif=None, xmp=None, data=None):
        with pyexiv2.ImageData(data or drawn(form)) as image:
            image.modify_iptc(iptc or {}, "latin-1")
            image.modify_exif(exif or {}, "latin-1")
            image.modify_xmp(xmp or {})
            return image.get_bytes()

    return draw


@pytest.fixture
def read(pyexiv2):
    def read(data):
        with pyexiv2.ImageData(data) as image:
            return image.read_iptc("latin-1"), image.read_exif("latin-1")

    return read


def xmp_of(data):
    packet = Packet(xmp_packets(data)[0] or None)
    return packet.texts("dc:description"), packet.words("dc:subject")


@pytest.mark.parametrize("form", FORMS)
def test_what_was_written_is_taken_back_to_the_byte(form):
    data = drawn(form)
    first = write_words(data, words(data)).data
    assert Image.open(io.BytesIO(first)).tobytes() == Image.open(io.BytesIO(data)).tobytes()
    assert xmp_of(first) == ({"x-default": "a dog"}, ["dog", "grass"])
    assert write_words(first, words(data)).data is None
    again = write_words(first, words(data, "a cat", ("cat",), model_id="m2")).data
    assert xmp_of(again) == ({"x-default": "a cat"}, ["cat"])
    assert remove_words(first).data == remove_words(again).data == data
    assert remove_words(data).data is None


@pytest.mark.parametrize("form", FORMS)
def test_a_marked_picture_is_known_by_its_first_sha256_however_often_it_was_written(form):
    data = drawn(form)
    marked = write_words(data, words(data)).data
    assert states_before(marked) == (sha256(data),)
    again = written(marked, "a cat").data  # captioned as it was, with the mark in it
    assert states_before(again) == (sha256(data), sha256(marked))
    for one in (data, marked):
        last = write_words(again, Words("a bird", (), "skip", "m1", sha256(one))).data
        assert states_before(last) == states_before(again)
    assert remove_words(again).data == data


def test_only_the_picture_of_the_words_is_written_into():
    data, other = drawn("JPEG"), drawn("JPEG", (10, 200, 10))
    marked = write_words(data, words(data)).data
    for changed in (other, marked[:-2] + b"\0\xff\xd9", write_words(other, words(other)).data):
        with pytest.raises(UnwritableMetadata, match="changed since it was captioned"):
            write_words(changed, words(data))
    with pytest.raises(UnwritableMetadata, match="changed since it was captioned"):
        remove(marked, sha256(other))
    assert remove(other, sha256(data)).data is None


ANNA = {CAPTION: "Anna on the beach", KEYWORDS: ["holiday", "Anna", "Dog"]}


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    ("mode", "iptc", "xmp"),
    [
        ("skip", "Anna on the beach", {}),
        ("append", "Anna on the beach a dog", {"x-default": "Anna on the beach a dog"}),
        ("overwrite", "a dog", {"x-default": "a dog"}),
    ],
)
def test_words_in_iptc_alone_are_a_persons(picture, read, form, mode, iptc, xmp):
    data = picture(form, ANNA, xmp={"Xmp.xmp.Rating": "4"})
    new = written(data, mode=mode).data
    found, _ = read(new)
    assert (found[CAPTION], found[KEYWORDS]) == (iptc, ["holiday", "Anna", "Dog", "grass"])
    assert xmp_of(new) == (xmp, ["holiday", "Anna", "Dog", "grass"])
    assert b"Rating" in xmp_packets(new)[0]
    back = remove_words(new).data
    assert read(back)[0] == ANNA
    assert xmp_of(back) == ({}, [])
    assert b"Rating" in xmp_packets(back)[0]


@pytest.mark.parametrize("mode", ["skip", "append", "overwrite"])
@pytest.mark.parametrize(
    ("codec", "mark"), [("latin-1", None), ("utf-8", None), ("latin-1", "\x1b.A"), ("utf-8", "\x1b%G")]
)
def test_other_texts_of_iptc_stay_readable_in_its_character_set(picture, read, codec, mark, mode):
    city, anna = ("Zürich".encode(codec).decode("latin-1"), "Änna".encode(codec).decode("latin-1"))
    texts = {CITY: city, CAPTION: anna, **({CHARSET: mark} if mark else {})}
    data = picture(iptc=texts)
    new = written(data, "größer", ("Hündchen",), mode=mode).data
    iptc, _ = read(new)
    assert (iptc[CITY], iptc.get(CHARSET)) == (city, mark)
    expected = {"skip": "Änna", "append": "Änna größer", "overwrite": "größer"}[mode]
    assert iptc[CAPTION].encode("latin-1").decode(codec) == expected
    assert iptc[KEYWORDS][0].encode("latin-1").decode(codec) == "Hündchen"
    assert read(remove_words(new).data)[0] == texts


@pytest.mark.parametrize(("charset", "word"), [(None, "犬"), ("\x1b.A", "犬"), ("\x1b%/E", "dog")])
def test_iptc_that_cannot_hold_a_word_lacks_it_and_says_so(picture, read, charset, word):
    texts = {CITY: "Z\xfcrich", **({CHARSET: charset} if charset else {})}
    new = written(picture(iptc=texts), word, (word,))
    assert read(new.data)[0] == texts
    assert xmp_of(new.data) == ({"x-default": word}, [word])
    assert "IPTC cannot hold" in new.note


def test_a_new_block_has_the_mark_of_utf_8_and_keeps_it_once_a_person_needs_it(picture, read):
    new = written(picture(iptc={CITY: "Zurich"}), "größer").data
    assert read(new)[0][CHARSET] == "\x1b%G"
    edited = picture(data=new, iptc={CITY: "Zürich".encode().decode("latin-1")})
    assert read(remove_words(edited).data)[0] == {CHARSET: "\x1b%G", CITY: "ZÃ¼rich"}


def test_long_words_of_a_person_are_not_cut(picture, read):
    texts = {CAPTION: "x" * 2500, KEYWORDS: ["y" * 70]}
    data = picture(iptc=texts)
    for mode, caption in (("skip", "x" * 2500), ("append", "x" * 2500), ("overwrite", "a dog")):
        new = written(data, mode=mode)
        assert read(new.data)[0][CAPTION] == caption
        assert read(new.data)[0][KEYWORDS] == ["y" * 70, "dog", "grass"]
        assert read(remove_words(new.data).data)[0] == texts
    long = written(drawn("JPEG"), "x" * 2500, ("y" * 70, "dog"))
    assert CAPTION not in read(long.data)[0]
    assert xmp_of(long.data) == ({"x-default": "x" * 2500}, ["y" * 70, "dog"])
    assert long.note


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("mode", "expected"), [("skip", "Änna"), ("append", "Änna a dog"), ("overwrite", "a dog")])
def test_a_description_in_exif_is_a_persons(picture, read, form, mode, expected):
    data = picture(form, exif={DESCRIPTION: "Änna".encode().decode("latin-1"), "Exif.Image.Orientation": "6"})
    new = written(data, mode=mode).data
    exif = read(new)[1]
    assert exif[DESCRIPTION].encode("latin-1").decode() == expected
    assert exif["Exif.Image.Orientation"] == "6"
    assert xmp_of(new)[0] == ({} if mode == "skip" else {"x-default": expected})
    assert read(remove_words(new).data)[1][DESCRIPTION] == "Änna".encode().decode("latin-1")


@pytest.mark.parametrize(
    "exif",
    [
        {"Exif.Image.XPComment": "Anna"},
        {"Exif.Image.XPTitle": "Anna"},
        {"Exif.Photo.UserComment": "charset=Unicode Anna"},
    ],
)
def test_a_title_or_a_comment_of_a_person_counts_as_a_description(picture, read, exif):
    data = picture(exif=exif)
    assert xmp_of(written(data).data) == ({}, ["dog", "grass"])
    assert written(data, keywords=()).data is None
    over = written(data, mode="overwrite").data
    assert xmp_of(over)[0] == {"x-default": "a dog"}
    assert read(over)[1] == read(data)[1]


@pytest.mark.parametrize("comment", ["charset=Ascii Screenshot", "\x01\x02\x03", "   ", "charset=Unicode "])
def test_a_comment_by_a_program_or_in_binary_is_no_description(picture, comment):
    new = written(picture(exif={"Exif.Photo.UserComment": comment})).data
    assert xmp_of(new)[0] == {"x-default": "a dog"}


@pytest.mark.parametrize("text", ["OLYMPUS DIGITAL CAMERA         ", "SONY DSC", " ", "DCIM\\100MEDIA\\DJI_0001.JPG"])
def test_what_a_camera_writes_is_no_persons_description(picture, read, text):
    new = written(picture(exif={DESCRIPTION: text})).data
    assert xmp_of(new)[0] == {"x-default": "a dog"}
    assert read(new)[1][DESCRIPTION].rstrip() == text.rstrip()


def test_keywords_of_windows_are_a_persons(picture):
    new = written(picture(exif={"Exif.Image.XPKeywords": "Dog;Lake Garda"})).data
    assert xmp_of(new)[1] == ["Dog", "Lake Garda", "grass"]


def segment(marker, content):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


SEGMENTS = {
    "profile": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(200)),
    "further pictures": segment(0xE2, b"MPF\0" + bytes(50)),
    "provenance": segment(0xEB, b"JP\0\1c2pa"),
    "Adobe": segment(0xEE, b"Adobe\0d\0\0\0\0\0"),
    "comments": segment(0xFE, b"hello") + segment(0xFE, b"more\0over"),
    "of a camera": segment(0xE1, b"QVCI\0"),
}
CHUNKS = {
    "profile": chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200))),
    "exif": chunk(b"eXIf", b"MM\0*\0\0\0\x08" + bytes(6)),
    "description": chunk(b"iTXt", b"Description\0\0\0de\0Beschreibung\0Z\xc3\xbcrich"),
    "iptc": chunk(b"tEXt", b"Raw profile type iptc\0\niptc\n   8\n1c02050003616263\n"),
    "private": chunk(b"prVt", b"private"),
}


@pytest.mark.parametrize("mode", ["skip", "overwrite"])
@pytest.mark.parametrize(
    ("form", "part"), [*(("JPEG", part) for part in SEGMENTS), *(("PNG", part) for part in CHUNKS)]
)
def test_all_else_in_the_file_stays_to_the_byte(form, part, mode):
    plain, place = drawn(form), 2 if form == "JPEG" else 33
    more = (SEGMENTS if form == "JPEG" else CHUNKS)[part]
    data = plain[:place] + more + plain[place:] + b"and a film"
    new = written(data, mode=mode).data
    assert more in new
    assert new.endswith(plain[-2:] + b"and a film")
    assert remove_words(new).data == data


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_first", [True, False])
def test_further_pictures_in_a_file_are_found_where_they_are(picture, order, is_first):
    first, second = picture(iptc=ANNA, xmp={"Xmp.xmp.Rating": "4"}), drawn("JPEG", (10, 200, 10))
    start = 20 if is_first else next(part.start for part in parts(first) if part.kind == b"\xdb")

    def with_index(size, distance):
        entries = struct.pack(order + "IIIHH" * 2, 0x30000, size, 0, 0, 0, 0, len(second), distance, 0, 0)
        header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
        tags = struct.pack(order + "HHHIII", 1, 0xB002, 7, len(entries), 26, 0)
        index = segment(0xE2, b"MPF\0" + header + tags + entries)
        return first[:start] + index + first[start:] + second

    size = len(with_index(0, 0)) - len(second)
    data = with_index(size, size - start - 8)
    new = written(data, mode="overwrite").data
    at = new.index(b"MPF\0") + 4
    grown, *_, distance = struct.unpack_from(order + "IIHHIII", new, at + 30)
    assert new[at + distance :] == second
    assert grown == len(new) - len(second)
    back = remove_words(new).data
    assert back[back.index(b"MPF\0") :][:70] == data[data.index(b"MPF\0") :][:70]
    assert back[back.index(b"MPF\0") + 4 + size - start - 8 :] == second


def test_a_thumbnail_and_maker_notes_stay_where_exif_is_written(pyexiv2, read):
    with pyexiv2.ImageData(drawn("JPEG")) as image:
        image.modify_exif({"Exif.Image.Make": "Acme", "Exif.Photo.MakerNote": "1 2 3 4 5 6 7", DESCRIPTION: "Anna"})
        image.modify_thumbnail(drawn("JPEG", (10, 200, 10)))
        data = image.get_bytes()
    new = written(data, "a much longer description than there was", mode="overwrite").data
    assert read(new)[1]["Exif.Photo.MakerNote"] == "1 2 3 4 5 6 7"
    with pyexiv2.ImageData(new) as image:
        assert image.read_thumbnail() == drawn("JPEG", (10, 200, 10))
    back, before = read(remove_words(new).data)[1], read(data)[1]
    for exif in (back, before):
        del exif["Exif.Image.ExifTag"], exif["Exif.Thumbnail.JPEGInterchangeFormat"]  # places in the file
    assert back == before


EXTENDED = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32


def extended(content):
    part = EXTENDED + len(content).to_bytes(4, "big") + bytes(4) + content
    data = drawn("JPEG")
    return data[:2] + b"\xff\xe1" + (len(part) + 2).to_bytes(2, "big") + part + data[2:]


def test_extended_xmp_stays_and_words_in_it_are_not_hidden():
    packet = Packet()
    data = extended(packet.to_bytes())
    assert xmp_packets(written(data).data)[1] == packet.to_bytes()
    packet.set_text("dc:description", "Anna")
    with pytest.raises(UnwritableMetadata, match="extended XMP"):
        written(extended(packet.to_bytes()))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"BM", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0\xff\xff"])
def test_what_is_no_whole_picture_of_a_known_form_is_refused(data):
    with pytest.raises(UnwritableMetadata):
        written(data)
    assert remove_words(data).data is None


def test_xmp_in_the_form_of_imagemagick_is_left_alone():
    plain = drawn("PNG")
    text = chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"\nxmp\n       3\n616263\n"))
    with pytest.raises(UnwritableMetadata, match="ImageMagick"):
        written(plain[:33] + text + plain[33:])


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_file_is_written_whole_or_refused(picture, form):
    data = picture(form, ANNA, {DESCRIPTION: "Anna", "Exif.Image.XPComment": "Anna"}, {"Xmp.dc.title": "Anna"})
    marked = written(data, mode="overwrite").data
    chance = random.Random(form)
    for original in (data, marked) * 60:
        place = chance.randrange(len(original))
        damaged = chance.choice(
            [
                original[:place],
                original[:place] + bytes([original[place] ^ 1 << chance.randrange(8)]) + original[place + 1 :],
                original[:place] + original[place + chance.randrange(1, 40) :],
            ]
        )
        words_in(damaged)
        states_before(damaged)
        for write in (lambda data: written(data, mode="overwrite"), lambda data: remove(data, sha256(data))):
            with contextlib.suppress(UnwritableMetadata):
                write(damaged)


def test_several_pieces_of_xmp_are_left_alone():
    piece = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + Packet().to_bytes())
    data = drawn("JPEG")
    assert written(data[:2] + piece + data[2:]).data
    with pytest.raises(UnwritableMetadata, match="several pieces of XMP"):
        written(data[:2] + piece * 2 + data[2:])


def test_compressed_xmp_is_read_and_left_alone_where_it_is_damaged():
    packet = Packet()
    packet.set_text("dc:description", "Anna")
    compressed, data = zlib.compress(packet.to_bytes()), drawn("PNG")

    def with_xmp(content):
        return data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + content) + data[33:]

    assert xmp_of(written(with_xmp(compressed)).data) == ({"x-default": "Anna"}, ["dog", "grass"])
    for damaged in (compressed[:-30], compressed[:2] + bytes(9)):
        with pytest.raises(UnwritableMetadata):
            written(with_xmp(damaged))


def test_a_directory_of_tags_that_is_nowhere_holds_no_words():
    exif = b"Exif\0\0MM\0*" + bytes(4)
    data = drawn("JPEG")
    assert words_in(data[:2] + segment(0xE1, exif) + data[2:]) == Elsewhere()


def test_xmp_that_is_damaged_is_left_alone(picture):
    data = picture(xmp={"Xmp.dc.title": "Anna"})
    with pytest.raises(UnwritableMetadata, match="XML"):
        written(data.replace(b"</rdf:RDF>", b"</rdf:rdf>"))
