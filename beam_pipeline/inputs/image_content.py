"""What a picture's file shows, apart from its metadata: a digest that stays when only metadata change."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

_MOST_PARTS = 100_000  # segments, chunks or strips of a file

# JPEG: markers without a length, and the segments that hold metadata (APP0 to APP15 and comments).
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_METADATA = frozenset((*range(0xE0, 0xF0), 0xFE))
_JPEG_SCAN = 0xDA

_WEBP_IMAGE = frozenset((b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"))

# TIFF: bytes of a value by its type, and the tags that place the image's data: pairs of offsets and sizes.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_TIFF_DATA = ((273, 279), (324, 325))
_TIFF_SHAPE = (256, 257, 258, 259, 262, 277, 278, 284, 317, 320, 322, 323, 338, 339)  # what tells how to read them


def content_digest(data: bytes) -> str | None:
    """A picture's file -> hex SHA-256 of its image without metadata; None for a format or a file that is not known.

    JPEG, PNG, WebP and TIFF. A program that only edits metadata keeps it, one that edits the picture does not.
    """
    try:
        parts = _parts(data)
        if parts is None:
            return None
        digest = hashlib.sha256()
        for number, part in enumerate(parts):
            if number == _MOST_PARTS:
                return None
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
    except (struct.error, IndexError):  # cut short
        return None
    return digest.hexdigest()


def _parts(data: bytes) -> Iterator[memoryview | bytes] | None:
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(data)
    return None


def _jpeg(data: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), 2
    while True:
        if data[at] != 0xFF:
            raise IndexError("no marker")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _JPEG_SCAN:
            yield view[at:]
            return
        end = at + 2
        if marker not in _JPEG_BARE:
            end += int(struct.unpack_from(">H", data, at + 2)[0])
        if marker not in _JPEG_METADATA:
            yield view[at:end]
        at = end


def _png(data: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        critical = not kind[0] & 0x20
        if critical or kind in (b"tRNS", b"fcTL", b"fdAT"):
            yield view[at + 4 : at + 8 + size]
        if kind == b"IEND":
            return
        at += 12 + size


def _webp(data: bytes) -> Iterator[memoryview]:
    view, at = memoryview(data), 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in _WEBP_IMAGE:
            yield view[at : at + 8 + size]
        at += 8 + size + size % 2


def _tiff(data: bytes) -> Iterator[memoryview | bytes]:
    view = memoryview(data)
    for tags in tiff_directories(data):
        for tag in _TIFF_SHAPE:
            if tag in tags:
                yield repr((tag, _numbers(data, tags[tag]))).encode()
        for offsets, sizes in _TIFF_DATA:
            if offsets in tags and sizes in tags:
                for offset, size in zip(_numbers(data, tags[offsets]), _numbers(data, tags[sizes]), strict=False):
                    yield view[offset : offset + size]


TiffValue = tuple[str, int, int, int]  # byte order, type, number of values, offset of the first


def tiff_directories(data: bytes) -> Iterator[dict[int, TiffValue]]:
    """A TIFF file, or the EXIF data of another one -> for each image directory in turn, tag -> where its value is.

    Raises:
      struct.error: it is cut short.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    offset_format, count_format, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    (at,) = struct.unpack_from(order + offset_format, data, 8 if big else 4)
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_PARTS:
        seen.add(at)
        (count,) = struct.unpack_from(order + count_format, data, at)
        at += struct.calcsize(count_format)
        if count > 65_535:
            raise struct.error("too many tags")
        tags: dict[int, TiffValue] = {}
        for place in range(at, at + count * entry, entry):
            tag, kind = struct.unpack_from(order + "HH", data, place)
            (number,) = struct.unpack_from(order + offset_format, data, place + 4)
            value = place + (12 if big else 8)
            if number * _TIFF_SIZES.get(kind, 1) > (8 if big else 4):
                (value,) = struct.unpack_from(order + offset_format, data, value)
            tags[tag] = order, kind, number, value
        yield tags
        (at,) = struct.unpack_from(order + offset_format, data, at + count * entry)


def _numbers(data: bytes, value: TiffValue) -> tuple[int, ...]:
    order, kind, number, offset = value
    if number > _MOST_PARTS or kind not in _TIFF_NUMBERS:
        raise struct.error("no list of numbers")
    return struct.unpack_from(f"{order}{number}{_TIFF_NUMBERS[kind]}", data, offset)
