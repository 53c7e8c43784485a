"""Metadata of any kind and size never costs the pixels of a PNG."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from beam_pipeline.images.decode import UnreadableImage, decode_image
from beam_pipeline.images.png_chunks import LARGEST_METADATA, without_metadata

BEHIND_HEADER = 33


def png(mode="RGB", colour=(200, 30, 40), **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (64, 48), colour).save(buffer, "PNG", **options)
    return buffer.getvalue()


PLAIN = png()
PIXELS = decode_image(PLAIN).pixels
BEFORE_END = PLAIN.index(b"IEND") - 4


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def text(size: int) -> bytes:
    return zlib.compress(b"a" * size)


NOISE = os.urandom(1_200_000)
METADATA = {
    "2.5 MB in zTXt": chunk(b"zTXt", b"c\0\0" + text(2_500_000)),
    "2.5 MB in iTXt": chunk(b"iTXt", b"c\0\1\0\0\0" + text(2_500_000)),
    "2.5 MB of XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text(2_500_000)),
    "a bomb of XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text(100 << 20)),
    "20 MB of XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"a" * (20 << 20)),
    "80 MB in tEXt": chunk(b"tEXt", b"c\0" + b"a" * (1 << 20)) * 80,
    "20,000 texts": chunk(b"tEXt", b"c\0a") * 20_000,
    "a bomb of EXIF in a text": chunk(b"zTXt", b"Raw profile type exif\0\0" + text(100 << 20)),
    "20 MB of EXIF": chunk(b"eXIf", b"II*\0" + bytes(20 << 20)),
    "broken EXIF": chunk(b"eXIf", NOISE[:5000]),
    "a profile of 1.2 MB": chunk(b"iCCP", b"c\0\0" + zlib.compress(NOISE)),
    "a broken profile": chunk(b"iCCP", b"c\0\0abc"),
    "a profile packed otherwise": chunk(b"iCCP", b"c\0\7abc"),
    "an empty profile": chunk(b"iCCP", b"") + chunk(b"iCCP", b"c\0"),
    "empty texts": chunk(b"tEXt", b"") + chunk(b"zTXt", b"") + chunk(b"iTXt", b"") + chunk(b"zTXt", b"c\0"),
    "texts packed otherwise": chunk(b"zTXt", b"c\0\7a") + chunk(b"iTXt", b"c\0\1\7\0\0a"),
    "a wrong checksum": chunk(b"tEXt", b"c\0a", 7) + chunk(b"eXIf", b"II*\0", 7) + chunk(b"abCd", b"a", 7),
    "short numbers": b"".join(chunk(kind, b"a") for kind in (b"pHYs", b"gAMA", b"cHRM", b"acTL", b"fcTL", b"tRNS")),
    "no number": chunk(b"sRGB", b"") + chunk(b"tIME", b""),
}


@pytest.mark.parametrize("place", [BEHIND_HEADER, BEFORE_END], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("name", METADATA)
def test_metadata_never_costs_the_pixels(name, place):
    decoded = decode_image(PLAIN[:place] + METADATA[name] + PLAIN[place:])
    np.testing.assert_array_equal(decoded.pixels, PIXELS)
    assert not decoded.lacks_profile


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(chunk(b"tEXt", b"c\0" + bytes(1000))[:-500], id="within a text"),
        pytest.param(chunk(b"zTXt", b"c\0\0" + text(1000))[:-2], id="within a checksum"),
        pytest.param(struct.pack(">I", 0x7FFFFFFF) + b"tEXt" + b"aaa", id="two gigabytes"),
        pytest.param(b"\0\0", id="within a length"),
    ],
)
def test_a_file_that_is_cut_behind_its_pixels_is_whole(cut):
    np.testing.assert_array_equal(decode_image(PLAIN[:BEFORE_END] + cut).pixels, PIXELS)


@pytest.mark.parametrize("unpacked", [NOISE * 8, bytes(512 << 20)], ids=["9.6 MB", "a bomb"])
def test_a_profile_that_is_too_large_is_left_out_and_said(unpacked):
    profile = chunk(b"iCCP", b"c\0\0" + zlib.compress(unpacked, 1))
    decoded = decode_image(PLAIN[:BEHIND_HEADER] + profile + PLAIN[BEHIND_HEADER:])
    np.testing.assert_array_equal(decoded.pixels, PIXELS)
    assert decoded.lacks_profile


@pytest.mark.parametrize(
    "told",
    [
        chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<rdf tiff:Orientation="6"/>'),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<rdf tiff:Orientation="6"/>')),
    ],
    ids=["EXIF", "XMP", "packed XMP"],
)
def test_the_orientation_is_still_known(told):
    decoded = decode_image(PLAIN[:BEHIND_HEADER] + METADATA["2.5 MB in zTXt"] + told + PLAIN[BEHIND_HEADER:])
    assert (decoded.width, decoded.height) == (48, 64)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        png("P", 7, transparency=7),
        png("L", 7, transparency=7),
        png("RGB", (1, 2, 3), transparency=(1, 2, 3)),
        png("RGBA", (1, 2, 3, 4)),
    ],
)
def test_what_holds_only_pixels_stays_as_it_is(data):
    assert without_metadata(data) == (data, False)


def test_pixels_that_are_damaged_are_still_refused():
    data = bytearray(PLAIN)
    data[PLAIN.index(b"IDAT") + 10] ^= 1
    with pytest.raises(UnreadableImage):
        decode_image(bytes(data))
    with pytest.raises(UnreadableImage):
        decode_image(PLAIN[: PLAIN.index(b"IDAT") + 10])


@given(st.lists(st.tuples(st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA"]), st.binary())))
def test_any_chunk_that_may_be_skipped_is_harmless(chunks):
    between = b"".join(chunk(kind, content) for kind, content in chunks)
    np.testing.assert_array_equal(decode_image(PLAIN[:BEHIND_HEADER] + between + PLAIN[BEHIND_HEADER:]).pixels, PIXELS)


def test_no_more_is_unpacked_than_the_limit():
    assert len(NOISE) < LARGEST_METADATA < 100 << 20
