"""The parts of a picture's file: segments of a JPEG, chunks of a PNG or a WebP, directories of a TIFF.

Files come from strangers: what is cut short raises `CutShort`, and no number in a file sets how long a loop runs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

JPEG, PNG, WEBP, TIFF = "JPEG", "PNG", "WebP", "TIFF"

PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # JPEG markers without a length
SCAN = b"\xda"

_MOST_DIRECTORIES, _MOST_TAGS, _MOST_NUMBERS = 10_000, 65_535, 1_000_000
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
_SUB_DIRECTORIES = 330


class CutShort(ValueError):
    """A file ends, or is damaged, before its last part."""


class Part(NamedTuple):
    """A part of a file.

    Attributes:
      kind: marker of a segment, as a byte; name of a chunk.
      start: where it begins, with its frame.
      content: where its content begins.
      content_end: where its content ends.
      end: where the next part begins.
    """

    kind: bytes
    start: int
    content: int
    content_end: int
    end: int


def form_of(data: bytes) -> str | None:
    """A file -> JPEG, PNG, WEBP or TIFF; None for others."""
    if data[:3] == b"\xff\xd8\xff":
        return JPEG
    if data.startswith(PNG_START):
        return PNG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    return TIFF if data[:4] in _TIFF_STARTS else None


def parts(data: bytes) -> Iterator[Part]:
    """A JPEG, PNG or WebP file -> its parts. The last of a JPEG goes from its first scan to the end of the file.

    Raises:
      CutShort: after its whole parts.
    """
    walk = {JPEG: _segments, PNG: _png_chunks, WEBP: _webp_chunks}[form_of(data) or ""]
    for part in walk(data):
        if part.content_end > len(data):
            raise CutShort
        yield part


def _segments(data: bytes) -> Iterator[Part]:
    at = 2
    while True:
        start = at
        while data[at : at + 2] == b"\xff\xff":  # padding
            at += 1
        marker = data[at + 1 : at + 2]
        if data[at : at + 1] != b"\xff" or not marker:
            raise CutShort
        if marker == SCAN:
            yield Part(marker, start, at + 2, len(data), len(data))
            return
        content = end = at + 2
        if marker[0] not in _BARE:
            content, end = at + 4, at + 2 + _unpack(">H", data, at + 2)
            if end < content:
                raise CutShort
        yield Part(marker, start, content, end, end)
        at = end


def _png_chunks(data: bytes) -> Iterator[Part]:
    at, kind = len(PNG_START), b""
    while kind != b"IEND":
        size = _unpack(">I", data, at)
        kind = data[at + 4 : at + 8]
        yield Part(kind, at, at + 8, at + 8 + size, at + 12 + size)
        at += 12 + size


def _webp_chunks(data: bytes) -> Iterator[Part]:
    at = 12
    while at + 8 <= len(data):
        size = _unpack("<I", data, at + 4)
        end = at + 8 + size
        yield Part(data[at : at + 4], at, at + 8, end, end + size % 2)
        at = end + size % 2


class Value(NamedTuple):
    """Where the value of a tag is.

    Attributes:
      order: of its bytes, as `struct` has it.
      kind: by the TIFF standard.
      length: how many numbers, or bytes, it has.
      offset: of the first.
    """

    order: str
    kind: int
    length: int
    offset: int

    def numbers(self, data: bytes) -> tuple[int, ...]:
        """Its numbers.

        Raises:
          CutShort: they are not in the file, or are no whole numbers.
        """
        if self.length > _MOST_NUMBERS or self.kind not in _NUMBERS:
            raise CutShort
        try:
            return struct.unpack_from(f"{self.order}{self.length}{_NUMBERS[self.kind]}", data, self.offset)
        except struct.error:
            raise CutShort from None


def directories(data: bytes) -> Iterator[dict[int, Value]]:
    """A TIFF file -> tags and values of each of its image directories, those below others included.

    Raises:
      CutShort: one is not in the file.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    place_format, count_format, entry, room = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    waiting, seen = [_unpack(order + place_format, data, room)], {0}
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        count = _unpack(order + count_format, data, at)
        if count > _MOST_TAGS or len(seen) > _MOST_DIRECTORIES:
            raise CutShort
        at += struct.calcsize(count_format)
        tags: dict[int, Value] = {}
        for place in range(at, at + count * entry, entry):
            tag, kind = _unpack(order + "H", data, place), _unpack(order + "H", data, place + 2)
            number, value = _unpack(order + place_format, data, place + 4), place + 4 + room
            if number * _SIZES.get(kind, 1) > room:
                value = _unpack(order + place_format, data, value)
            tags[tag] = Value(order, kind, number, value)
        yield tags
        waiting.append(_unpack(order + place_format, data, at + count * entry))
        if _SUB_DIRECTORIES in tags:
            waiting += tags[_SUB_DIRECTORIES].numbers(data)


def _unpack(form: str, data: bytes, at: int) -> int:
    try:
        return int(struct.unpack_from(form, data, at)[0])
    except struct.error:
        raise CutShort from None
