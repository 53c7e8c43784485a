"""Puts XMP and blocks of IPTC and EXIF into a picture's file; every other byte stays as it is."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from beam_pipeline.inputs.image_content import APP1, PNG_XMP, XMP_START, is_xmp
from beam_pipeline.inputs.picture_parts import JPEG, PNG, SCAN, WEBP, CutShort, Part, directories, form_of, parts
from training.text.plurals import counted

_LONGEST_SEGMENT = 65_533
_EXIF, _PHOTOSHOP = b"Exif\0\0", b"Photoshop 3.0\0"
_APP0, _APP2, _APP13 = b"\xe0", b"\xe2", b"\xed"
_PICTURES, _PICTURE_ENTRIES, _INDEX_ENTRY = b"MPF\0", 0xB002, 16  # an index of pictures: its tag, bytes of an entry
_IMAGE_DESCRIPTION, _ASCII = 270, 2  # a tag of TIFF, and its type
_VP8X, _XMP_FLAG, _ALPHA_FLAG = b"VP8X", 0x04, 0x10


class DoesNotFit(ValueError):
    """A file cannot hold a block; the message is the reason, for a person."""


def with_iptc(data: bytes, source: bytes) -> bytes:
    """A JPEG -> the same with the blocks of another JPEG that hold IPTC."""
    new = b"".join(source[part.start : part.end] for part in parts(source) if is_iptc(source, part))
    return _replace(data, is_iptc, new)


def with_image_description(data: bytes, text: bytes) -> bytes:
    """A JPEG, PNG or WebP file whose EXIF has an ImageDescription -> the same with another one.

    It is added to the end of the EXIF data, so that nothing in them moves.

    Raises:
      DoesNotFit: the file has no such EXIF, or it would be too large for a JPEG.
    """
    part = next((part for part in parts(data) if is_exif(data, part)), None)
    if part is None:
        raise DoesNotFit("has its EXIF in a form that is not written to")
    start = part.content + (len(_EXIF) if data.startswith(_EXIF, part.content) else 0)
    content = data[part.content : start] + _described(data[start : part.content_end], text)
    form = form_of(data)
    if form == JPEG:
        block = _segment(APP1, content)
    else:
        block = _png_chunk(part.kind, content) if form == PNG else _webp_chunk(part.kind, content)
    changed = data[: part.start] + block + data[part.end :]
    return _with_riff_size(changed) if form == WEBP else changed


def _described(exif: bytes, text: bytes) -> bytes:
    order, value = "<" if exif[:2] == b"II" else ">", text + b"\0"
    try:
        (at,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            if struct.unpack_from(order + "H", exif, place) == (_IMAGE_DESCRIPTION,):
                exif += bytes(len(exif) % 2)
                is_short = len(value) <= 4
                where = value.ljust(4, b"\0") if is_short else struct.pack(order + "I", len(exif))
                entry = struct.pack(order + "HI", _ASCII, len(value)) + where
                return exif[: place + 2] + entry + exif[place + 12 :] + (b"" if is_short else value)
    except struct.error:
        pass
    raise DoesNotFit("has its EXIF in a form that is not written to")


def with_xmp(data: bytes, packet: bytes | None) -> bytes:
    """A JPEG, PNG or WebP file -> the same with this XMP packet; None for without.

    Raises:
      DoesNotFit: the packet is too large for a JPEG.
    """
    form = form_of(data)
    if form == WEBP:
        return _webp_with_xmp(data, packet)
    if packet is None:
        block = b""
    elif form == JPEG:
        block = _segment(APP1, XMP_START + packet)
    else:
        block = _png_chunk(b"iTXt", PNG_XMP + bytes(4) + packet)
    return _replace(data, is_xmp, block)


def _segment(marker: bytes, content: bytes) -> bytes:
    if len(content) > _LONGEST_SEGMENT:
        raise DoesNotFit(
            f"would have metadata of {counted(len(content), 'byte')} in one piece, more than a JPEG segment holds"
        )
    return b"\xff" + marker + struct.pack(">H", len(content) + 2) + content


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _with_riff_size(data: bytes) -> bytes:
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def with_further_pictures(data: bytes, before: bytes) -> bytes:
    """A JPEG with other blocks than before -> the same with the right places of the pictures after the first.

    Phones store a depth or a gain map so. An index (CIPA DC-007) has the distance of each from the index itself, and
    the size of the first, which has grown by what was written.

    Args:
      before: the file before its blocks were replaced.
    """
    old, new = _picture_index(before), _picture_index(data)
    if old is None or new is None:
        return data
    growth, moved = len(data) - len(before), new.header - old.header
    changed = bytearray(data)
    for place in range(new.start, new.start + new.length, _INDEX_ENTRY):
        size, distance = struct.unpack_from(new.order + "II", data, place + 4)
        if distance:
            distance += growth - moved
        elif size:
            size += growth
        if min(size, distance) < 0 or max(size, distance) >= 1 << 32:
            raise DoesNotFit("has an index of pictures that cannot be right; it is left alone")
        struct.pack_into(new.order + "II", changed, place + 4, size, distance)
    return bytes(changed)


class _PictureIndex(NamedTuple):
    order: str
    header: int  # from where distances count
    start: int
    length: int


def _picture_index(data: bytes) -> _PictureIndex | None:
    for part in parts(data):
        if part.kind == _APP2 and data.startswith(_PICTURES, part.content):
            header = part.content + len(_PICTURES)
            content = data[header : part.content_end]
            with contextlib.suppress(CutShort):
                value = next(directories(content), {}).get(_PICTURE_ENTRIES)
                if value is not None and value.offset + value.length <= len(content):
                    length = value.length // _INDEX_ENTRY * _INDEX_ENTRY
                    return _PictureIndex(value.order, header, header + value.offset, length)
    return None


def _replace(data: bytes, belongs: Callable[[bytes, Part], bool], block: bytes) -> bytes:
    """File -> the same with a block in place of the first part that belongs, and without the others that do."""
    found = list(parts(data))
    own = [part for part in found if belongs(data, part)]
    places = [part.start for part in found if _is_place(data, part)]
    start = own[0].start if own else next(iter(places), len(data))
    pieces = [data[:start], block]
    for part in own:
        pieces.append(data[start : part.start])
        start = part.end
    return b"".join([*pieces, data[start:]])


def is_exif(data: bytes, part: Part) -> bool:
    """Whether a part of a JPEG, PNG or WebP file is its EXIF."""
    if form_of(data) == JPEG:
        return part.kind == APP1 and data.startswith(_EXIF, part.content)
    return part.kind in (b"eXIf", b"EXIF")


def is_iptc(data: bytes, part: Part) -> bool:
    """Whether a part of a JPEG file is Photoshop's block, which holds IPTC."""
    return part.kind == _APP13 and data.startswith(_PHOTOSHOP, part.content)


def _is_place(data: bytes, part: Part) -> bool:
    """Whether a new block goes before this part."""
    form = form_of(data)
    if form == JPEG:
        return part.kind == SCAN or not (part.kind == _APP0 or is_exif(data, part))
    return form == PNG and part.kind == b"IDAT"


def _webp_with_xmp(data: bytes, packet: bytes | None) -> bytes:
    chunk = b"" if packet is None else _webp_chunk(b"XMP ", packet)
    if packet is not None and data[12:16] != _VP8X:
        data = data[:12] + _vp8x(data) + data[12:]
    if data[12:16] == _VP8X:
        flags = data[20] & ~_XMP_FLAG | (_XMP_FLAG if packet is not None else 0)
        data = data[:20] + bytes([flags]) + data[21:]
    return _with_riff_size(_replace(data, is_xmp, chunk))


def _vp8x(data: bytes) -> bytes:
    """WebP of the simple form -> the chunk that makes it one of the extended form."""
    image = next(parts(data))
    content = data[image.content : image.content + 10]
    if image.kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        width, height, flags = bits & 0x3FFF, bits >> 14 & 0x3FFF, _ALPHA_FLAG if bits >> 28 & 1 else 0
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", content, 6))
        width, height, flags = width - 1, height - 1, 0
    size = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    return _webp_chunk(_VP8X, bytes([flags, 0, 0, 0]) + size)
