"""Puts XMP and blocks of IPTC and EXIF into a picture's file; every other byte stays as it is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from beam_pipeline.inputs.image_content import APP1, PNG_XMP, XMP_START, is_xmp
from beam_pipeline.inputs.picture_parts import JPEG, PNG, SCAN, WEBP, Part, form_of, parts

_LONGEST_SEGMENT = 65_533
_EXIF, _PHOTOSHOP = b"Exif\0\0", b"Photoshop 3.0\0"
_APP0, _APP13 = b"\xe0", b"\xed"
_VP8X, _XMP_FLAG, _ALPHA_FLAG = b"VP8X", 0x04, 0x10


class DoesNotFit(ValueError):
    """XMP is too large for the format."""


def is_exif(data: bytes, part: Part) -> bool:
    """Whether a part of a JPEG, PNG or WebP file is its EXIF."""
    if form_of(data) == JPEG:
        return part.kind == APP1 and data.startswith(_EXIF, part.content)
    return part.kind in (b"eXIf", b"EXIF")


def is_iptc(data: bytes, part: Part) -> bool:
    """Whether a part of a JPEG file is Photoshop's block, which holds IPTC."""
    return part.kind == _APP13 and data.startswith(_PHOTOSHOP, part.content)


def transplant(source: bytes, data: bytes, belongs: Callable[[bytes, Part], bool]) -> bytes:
    """Blocks of a file -> into another one of the same format, in place of its own.

    Args:
      source: has the new blocks.
      data: gets them.
      belongs: says of a part of a file whether it is such a block.
    """
    new = b"".join(source[part.start : part.end] for part in parts(source) if belongs(source, part))
    return _replace(data, belongs, new)


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
        content = XMP_START + packet
        if len(content) > _LONGEST_SEGMENT:
            raise DoesNotFit(f"its XMP would have {len(content):,} bytes, more than a JPEG segment holds")
        block = b"\xff" + APP1 + struct.pack(">H", len(content) + 2) + content
    else:
        content = b"iTXt" + PNG_XMP + bytes(4) + packet
        block = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return _replace(data, is_xmp, block)


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


def _is_place(data: bytes, part: Part) -> bool:
    """Whether a new block goes before this part."""
    form = form_of(data)
    if form == JPEG:
        return part.kind == SCAN or not (part.kind == _APP0 or is_exif(data, part))
    return form == PNG and part.kind == b"IDAT"


def _webp_with_xmp(data: bytes, packet: bytes | None) -> bytes:
    chunk = b"" if packet is None else b"XMP " + struct.pack("<I", len(packet)) + packet + bytes(len(packet) % 2)
    if packet is not None and data[12:16] != _VP8X:
        data = data[:12] + _vp8x(data) + data[12:]
    if data[12:16] == _VP8X:
        flags = data[20] & ~_XMP_FLAG | (_XMP_FLAG if packet is not None else 0)
        data = data[:20] + bytes([flags]) + data[21:]
    data = _replace(data, is_xmp, chunk)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


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
    return _VP8X + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size
