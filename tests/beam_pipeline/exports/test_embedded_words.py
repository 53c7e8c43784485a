import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipeline.exports.embedded import write_words
from beam_pipeline.exports.embedded_words import words_in
from beam_pipeline.exports.xmp_merge import Elsewhere, Words

FORMATS = {"JPEG": "jpg", "PNG": "png", "WebP": "webp", "TIFF": "tif"}
NOTHING = Elsewhere()


def picture(form="JPEG", **settings) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, form, **settings)
    return buffer.getvalue()


def with_iptc(pyexiv2, data, **fields):
    with pyexiv2.ImageData(data) as image:
        image.modify_iptc({f"Iptc.Application2.{name}": value for name, value in fields.items()})
        return image.get_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_words_in_exif_are_found_in_every_format(form):
    exif = Image.Exif()
    exif[270] = "Anna on the beach"
    exif[40094] = "holiday;Anna".encode("utf-16-le")
    assert words_in(picture(form, exif=exif.tobytes())) == Elsewhere("Anna on the beach", "", ("holiday", "Anna"))
    assert words_in(picture(form)) == NOTHING


@pytest.mark.parametrize("text", [b"ASCII\0\0\0a comment", b"UNICODE\0" + "a comment".encode("utf-16")])
def test_a_comment_of_exif_is_another_text(text):
    exif = Image.Exif()
    exif.get_ifd(34665)[37510] = text
    assert words_in(picture(exif=exif.tobytes())) == Elsewhere("", "a comment")


def test_what_a_camera_writes_is_no_description():
    exif = Image.Exif()
    exif[270] = "OLYMPUS DIGITAL CAMERA         "
    assert words_in(picture(exif=exif.tobytes())) == NOTHING


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_words_in_iptc_are_found(pyexiv2, form):
    data = with_iptc(pyexiv2, picture(form), Caption="Anna in Zürich", Keywords=["Anna", "Ferien"], Headline="Urlaub")
    assert words_in(data) == Elsewhere("Anna in Zürich", "Urlaub", ("Anna", "Ferien"))


@pytest.mark.parametrize("form", FORMATS)
def test_words_in_xmp_are_found_and_ours_are_not(pyexiv2, form):
    def ours(data):
        words = Words("a dog", ("dog",), "append", "m", hashlib.sha256(data).hexdigest())
        return write_words(data, words).data

    plain = picture(form)
    assert words_in(ours(plain)) == NOTHING
    with pyexiv2.ImageData(plain) as image:
        image.modify_xmp({"Xmp.dc.description": {'lang="de"': "Anna am Strand"}, "Xmp.dc.subject": ["Anna"]})
        persons = image.get_bytes()
    assert words_in(persons) == Elsewhere("Anna am Strand", "", ("Anna",))
    written = words_in(ours(persons))
    assert (written.description, written.keywords) == ("Anna am Strand", ("Anna",))
    if form in ("JPEG", "TIFF"):
        persons = with_iptc(pyexiv2, plain, Caption="Anna", Keywords=["beach"])
        assert words_in(ours(persons)) == Elsewhere("Anna", "", ("beach",))


def test_what_is_no_picture_holds_no_words():
    starts = b"\xff\xd8\xff", b"II*\0", b"II*\0\xff\xff\xff\xff", b"RIFF\0\0\0\0WEBP", b"\x89PNG\r\n\x1a\n"
    for data in (b"", b"GIF89a", *starts):
        assert words_in(data) == NOTHING


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4), st.sampled_from(["JPEG", "TIFF", "PNG"]))
def test_damaged_blocks_cost_words_and_no_error(place, damage, form):
    exif = Image.Exif()
    exif[270] = "Anna"
    exif.get_ifd(34665)[37510] = b"ASCII\0\0\0a comment"
    data = picture(form, exif=exif.tobytes())
    place %= len(data)
    words_in(data[:place] + damage + data[place + len(damage) :])
    words_in(data[:place])
