"""What a person wrote into a picture's file, read without Exiv2: for sidecars, which the plain install writes too.

Files come from strangers: only the blocks of metadata are looked at, each within its bounds.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

from beam_pipeline.exports.legacy_metadata import LegacyMetadata
from beam_pipeline.exports.mark import SUBJECT, XMP_TEXTS
from beam_pipeline.exports.splice import is_exif, is_iptc
from beam_pipeline.exports.xmp import Packet, UnreadableXmp
from beam_pipeline.exports.xmp_merge import Elsewhere, take_back
from beam_pipeline.inputs.image_content import xmp_packets
from beam_pipeline.inputs.picture_parts import TIFF, CutShort, Value, directories, form_of, parts

_EXIF_START, _PHOTOSHOP_START = b"Exif\0\0", b"Photoshop 3.0\0"
_IPTC_RESOURCE = 0x0404
_IPTC_OF_TIFF, _SUB_DIRECTORY = 33723, 34665
_IPTC_TAGS = {
    (1, 90): "Iptc.Envelope.CharacterSet",
    (2, 5): "Iptc.Application2.ObjectName",
    (2, 25): "Iptc.Application2.Keywords",
    (2, 105): "Iptc.Application2.Headline",
    (2, 120): "Iptc.Application2.Caption",
}
_KEYWORDS = _IPTC_TAGS[2, 25]
_EXIF_TEXT, _USER_COMMENT = 270, 37510
_WINDOWS_TAGS = {40091: "Title", 40092: "Comment", 40094: "Keywords", 40095: "Subject"}


def words_in(data: bytes) -> Elsewhere:
    """A picture's file -> what a person wrote into it; what exports wrote into it is left out."""
    legacy, found = LegacyMetadata(_PlainImage(data)), []
    for packet in _packets(data):
        mark = packet.mark()
        take_back(packet, mark)
        legacy.take_back(mark)
        found.append(packet)
    texts = [text for packet in found for name in XMP_TEXTS for text in packet.texts(name).values() if text.strip()]
    others = legacy.elsewhere()
    keywords = (*(word for packet in found for word in packet.words(SUBJECT)), *others.keywords)
    return Elsewhere(next(iter(texts), others.description), others.other_text, keywords)


def _packets(data: bytes) -> Iterator[Packet]:
    for raw in filter(None, xmp_packets(data)):
        with contextlib.suppress(UnreadableXmp):  # nobody can read it, so it hides nothing
            yield Packet(raw)


class _PlainImage:
    """IPTC and EXIF texts of a picture's file, as pyexiv2 gives them: texts whose characters are bytes."""

    def __init__(self, data: bytes):
        self._exif: dict[str, str] = {}
        self._iptc: dict[str, Any] = {}
        form = form_of(data)
        with contextlib.suppress(CutShort):  # what stands before that place counts
            if form == TIFF:
                self._read_tiff(data)
            elif form is not None:
                for part in parts(data):
                    content = data[part.content : part.content_end]
                    if is_exif(data, part):
                        with contextlib.suppress(CutShort):
                            self._read_tiff(content.removeprefix(_EXIF_START))
                    elif is_iptc(data, part):
                        self._read_photoshop(content[len(_PHOTOSHOP_START) :])

    def read_exif(self, _: str) -> dict[str, str]:
        return self._exif

    def read_iptc(self, _: str) -> dict[str, Any]:
        return self._iptc

    def read_icc(self) -> bytes:
        return b""

    def read_thumbnail(self) -> bytes:
        return b""

    def read_comment(self, _: str) -> str:
        return ""

    def get_mime_type(self) -> str:
        return ""

    def _read_tiff(self, data: bytes) -> None:
        tags = next(directories(data), {})  # the metadata of a file are in the first
        if _EXIF_TEXT in tags:
            self._exif.setdefault("Exif.Image.ImageDescription", _bytes(data, tags[_EXIF_TEXT]).decode("latin-1"))
        for tag, name in _WINDOWS_TAGS.items():
            if tag in tags:
                self._exif[f"Exif.Image.XP{name}"] = _bytes(data, tags[tag]).decode("utf-16-le", "replace")
        if _IPTC_OF_TIFF in tags:
            value = tags[_IPTC_OF_TIFF]
            self._read_iptc(_bytes(data, value._replace(length=value.length * (4 if value.kind == 4 else 1))))
        if _SUB_DIRECTORY in tags:
            (place,) = tags[_SUB_DIRECTORY].numbers(data)[:1] or (0,)
            beginning_there = data[:4] + struct.pack(tags[_SUB_DIRECTORY].order + "I", place) + data[8:]
            below = next(directories(beginning_there), {})
            if _USER_COMMENT in below:
                comment = _bytes(data, below[_USER_COMMENT])
                encoding = "utf-16" if comment.startswith(b"UNICODE") else "latin-1"
                self._exif["Exif.Photo.UserComment"] = comment[8:].decode(encoding, "replace")

    def _read_photoshop(self, data: bytes) -> None:
        at = 0
        while data[at : at + 4] == b"8BIM" and at + 8 < len(data):
            (kind,) = struct.unpack_from(">H", data, at + 4)
            at += 6 + data[at + 6] // 2 * 2 + 2  # a name, padded with its length to an even size
            if at + 4 > len(data):
                return
            (size,) = struct.unpack_from(">I", data, at)
            if kind == _IPTC_RESOURCE:
                self._read_iptc(data[at + 4 : at + 4 + size])
            at += 4 + size + size % 2

    def _read_iptc(self, data: bytes) -> None:
        at = 0
        while data[at : at + 1] == b"\x1c" and at + 5 <= len(data):
            record, number, size = struct.unpack_from(">BBH", data, at + 1)
            if size & 0x8000:  # longer than any text
                return
            name = _IPTC_TAGS.get((record, number))
            text = data[at + 5 : at + 5 + size].decode("latin-1")
            if name == _KEYWORDS:
                self._iptc.setdefault(name, []).append(text)
            elif name:
                self._iptc.setdefault(name, text)
            at += 5 + size


def _bytes(data: bytes, value: Value) -> bytes:
    return data[value.offset : value.offset + value.length]
