"""Description and keywords inside a picture's file; what XMP, IPTC and EXIF hold there is read before any is written.

Exiv2 reads IPTC and EXIF, and makes blocks of IPTC. It would write XMP in its own words, and others' EXIF, profiles and
comments in another form. So in JPEG, PNG and WebP only the blocks that change are replaced, and XMP is changed where it
stands. A TIFF is written by Exiv2, with our XMP in place of a placeholder. Afterwards the file is read again, and given
up where anything else than description and keywords has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from beam_pipeline.exports.legacy_metadata import LegacyMetadata
from beam_pipeline.exports.mark import Mark, next_states
from beam_pipeline.exports.splice import (
    DoesNotFit,
    with_further_pictures,
    with_image_description,
    with_iptc,
    with_xmp,
)
from beam_pipeline.exports.xmp import Packet, UnreadableXmp
from beam_pipeline.exports.xmp_merge import Words, decide, merge, take_back
from beam_pipeline.inputs.image_content import content_digest, is_xmp, xmp_packets
from beam_pipeline.inputs.picture_parts import JPEG, TIFF, CutShort, form_of, parts
from beam_pipeline.inputs.written_mark import NAMESPACE

_CHANGED = "changed since it was captioned; run captionbeam caption again"
_PLACEHOLDER = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="{}"/></rdf:RDF></x:xmpmeta>'
)
_END = b'<?xpacket end="w"?>'


class UnwritableMetadata(Exception):
    """A picture's file cannot take the metadata; the message is the reason, for a person."""


@dataclass(frozen=True)
class Written:
    """A file with its new metadata.

    Attributes:
      data: its content; None where it stays as it is.
      note: what could not be done as usual, for a person; "" for nothing.
    """

    data: bytes | None
    note: str = ""


def write_words(data: bytes, words: Words) -> Written:
    """Content of a picture's file and words -> its new content; what an earlier export wrote is replaced.

    Raises:
      UnwritableMetadata: not a format that holds metadata, a broken file, another picture than the words are for, or
        something else in it would be lost.
    """
    image = _image_of(data)
    with _reading(data) as (packet, legacy):
        earlier = packet.mark()
        known = earlier is not None and earlier.image == image and words.sha256 in earlier.states
        if not known and hashlib.sha256(data).hexdigest() != words.sha256:
            raise UnwritableMetadata(_CHANGED)
        before = packet.to_bytes()
        created = packet.is_new or (earlier is not None and earlier.created)
        take_back(packet, earlier)
        legacy.take_back(earlier)
        decision = decide(packet, words, legacy.elsewhere())
        changes = (*merge(packet, decision), *legacy.merge(decision))
        if changes:
            packet.set_mark(Mark(words.model_id, next_states(earlier, image, words.sha256), image, changes, created))
        if packet.to_bytes() == before and not legacy.changes_iptc and legacy.image_description is None:
            return Written(None, legacy.note)
        gone = created and packet.is_empty()
        return Written(_write(data, None if gone else packet, legacy, earlier), legacy.note)


def remove_words(data: bytes, sha256: str) -> Written:
    """Content of a picture's file -> the same without what our mark says that we wrote.

    Args:
      data: content of the file.
      sha256: of the picture, as the captions have it.

    Raises:
      UnwritableMetadata: marked as another picture, a broken file, or something else in it would be lost.
    """
    if NAMESPACE.encode() not in data:
        return Written(None)
    with _reading(data) as (packet, legacy):
        mark = packet.mark()
        if mark is None:
            return Written(None)
        if sha256 not in (*mark.states, hashlib.sha256(data).hexdigest()):
            raise UnwritableMetadata(_CHANGED)
        take_back(packet, mark)
        legacy.take_back(mark)
        return Written(_write(data, None if mark.created and packet.is_empty() else packet, legacy, mark), legacy.note)


def _image_of(data: bytes) -> str:
    image = content_digest(data)
    if image is None:
        raise UnwritableMetadata("is no whole JPEG, PNG, WebP or TIFF file, into which metadata can be written")
    return image


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    import pyexiv2

    pyexiv2.set_log_level(4)  # no warnings about what other programs wrote
    try:
        with pyexiv2.ImageData(data) as image:
            yield image
    except (RuntimeError, ValueError) as error:  # of Exiv2; of pyexiv2, about odd texts of Windows
        what = " ".join(str(error).split())[:200]
        raise UnwritableMetadata(f"has metadata that cannot be read ({what}); it is left alone") from error


@contextlib.contextmanager
def _reading(data: bytes) -> Iterator[tuple[Packet, LegacyMetadata]]:
    with _opened(data) as image:
        legacy = LegacyMetadata(image)
    try:
        if form_of(data) != TIFF:
            _require_one_packet(data)
        raw, extended = xmp_packets(data)
        packet = Packet(raw or None)
        if extended and Packet(extended).holds_words():
            raise UnwritableMetadata("has its description or keywords in extended XMP, which is not written to")
        yield packet, legacy
    except CutShort as error:
        raise UnwritableMetadata("is cut short") from error
    except UnreadableXmp as error:
        raise UnwritableMetadata(str(error)) from error


def _require_one_packet(data: bytes) -> None:
    found = list(parts(data))
    if sum(is_xmp(data, part) for part in found) > 1:
        raise UnwritableMetadata("has several pieces of XMP, of which programs read one or another; it is left alone")
    texts = (part for part in found if part.kind in (b"tEXt", b"zTXt", b"iTXt"))
    if any(data.startswith(b"Raw profile type xmp\0", part.content) for part in texts):
        raise UnwritableMetadata("has its XMP in the form of ImageMagick, which is not written to")


def _write(data: bytes, packet: Packet | None, legacy: LegacyMetadata, mark: Mark | None) -> bytes:
    wanted = None if packet is None else packet.to_bytes()
    try:
        if form_of(data) == TIFF:
            written = _write_tiff(data, wanted, legacy)
        else:
            written = _original(with_xmp(_with_legacy(data, legacy), wanted), mark)
            if form_of(data) == JPEG:
                written = with_further_pictures(written, data)
    except DoesNotFit as error:
        raise UnwritableMetadata(str(error)) from error
    with _opened(written) as image:
        if LegacyMetadata(image).rest() != legacy.rest() or content_digest(written) != content_digest(data):
            raise UnwritableMetadata("has other metadata that would change; it is left alone")
    return written


def _with_legacy(data: bytes, legacy: LegacyMetadata) -> bytes:
    """JPEG, PNG or WebP -> the same with IPTC as Exiv2 writes it and another ImageDescription, where they change."""
    if legacy.changes_iptc:
        with _opened(data) as image:
            legacy.write_iptc(image)
            data = with_iptc(data, image.get_bytes())
    if legacy.image_description is not None:
        data = with_image_description(data, legacy.image_description.encode("latin-1"))
    return data


def _write_tiff(data: bytes, packet: bytes | None, legacy: LegacyMetadata) -> bytes:
    with _opened(data) as image:
        legacy.write(image)
        image.modify_raw_xmp(_PLACEHOLDER.format("x" * len(packet)) if packet else "")
        written: bytes = image.get_bytes()
    return _with_packet(written, packet) if packet else written


def _with_packet(data: bytes, packet: bytes) -> bytes:
    """File with the placeholder in it -> the same with `packet` in its place, padded to its size."""
    filler = data.find(b"x" * len(packet))
    start, end = data.rfind(b"<?xpacket begin", 0, filler), data.find(b"<?xpacket end", filler)
    end = data.find(b"?>", end) + 2
    body = packet.rstrip()
    if body.endswith(b"?>"):  # the mark of its end
        body = body[: body.rfind(b"<?")].rstrip()
    room = end - start - len(body) - len(_END)
    if min(filler, start) < 0 or end < filler or room < 0:
        raise DoesNotFit("its XMP does not fit into it")
    return data[:start] + body + b" " * room + _END + data[end:]


def _original(data: bytes, mark: Mark | None) -> bytes:
    """File -> the same; a WebP in the simple form, which cannot hold XMP, if that is the file that the mark knows."""
    if mark and data[:4] == b"RIFF" and data[12:16] == b"VP8X":
        simple = data[:4] + struct.pack("<I", len(data) - 8 - 18) + data[8:12] + data[30:]
        if hashlib.sha256(simple).hexdigest() in mark.states:
            return simple
    return data
