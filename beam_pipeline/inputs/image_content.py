"""What a picture's file shows, as a digest that stays when only metadata change, and the XMP beside it."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import zlib
from collections.abc import Iterator

from beam_pipeline.inputs.picture_parts import JPEG, PNG, TIFF, WEBP, CutShort, Part, directories, form_of, parts

APP1 = b"\xe1"
XMP_START, EXTENDED_START = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
PNG_XMP = b"XML:com.adobe.xmp\0"

_JPEG_METADATA = frozenset(bytes([marker]) for marker in (*range(0xE0, 0xF0), 0xFE))
_PNG_IMAGE = (b"tRNS", b"fcTL", b"fdAT")  # beside the chunks that are critical, which have a capital
_WEBP_IMAGE = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_TIFF_XMP = 700
_TIFF_DATA = ((273, 279), (324, 325))  # tags that place the image's data, as pairs of offsets and sizes
_TIFF_SHAPE = (256, 257, 258, 259, 262, 277, 278, 284, 317, 320, 322, 323, 338, 339)  # tags that say how to read them
_MOST_XMP = 32 << 20  # bytes, when it is compressed


def content_digest(data: bytes) -> str | None:
    """A picture's file -> hex SHA-256 of its image without metadata; None for a format or a file that is not known.

    JPEG, PNG, WebP and TIFF. A program that only edits metadata keeps it, one that edits the picture does not.
    """
    form, view, digest = form_of(data), memoryview(data), hashlib.sha256()
    if form is None:
        return None
    try:
        for start, end in _tiff_image(data, digest) if form == TIFF else _image(data, form):
            digest.update(struct.pack("<Q", end - start))
            digest.update(view[start:end])
    except CutShort:
        return None
    return digest.hexdigest()


def _image(data: bytes, form: str) -> Iterator[tuple[int, int]]:
    for part in parts(data):
        if form == JPEG:
            shown = part.kind not in _JPEG_METADATA
        elif form == PNG:
            shown = part.kind in _PNG_IMAGE or not part.kind[0] & 0x20
        else:
            shown = part.kind in _WEBP_IMAGE
        if shown:
            yield (part.start, part.content_end) if form != JPEG else (part.content - 2, part.content_end)


def _tiff_image(data: bytes, digest: hashlib._Hash) -> Iterator[tuple[int, int]]:
    for tags in directories(data):
        for tag in _TIFF_SHAPE:
            if tag in tags:
                digest.update(repr((tag, tags[tag].numbers(data))).encode())
        for offsets, sizes in _TIFF_DATA:
            if offsets in tags and sizes in tags:
                for offset, size in zip(tags[offsets].numbers(data), tags[sizes].numbers(data), strict=False):
                    yield min(offset, len(data)), min(offset + size, len(data))


def xmp_packets(data: bytes) -> tuple[bytes, bytes]:
    """A picture's file -> its XMP packet as it stands there, and its extended XMP; each empty without it.

    XMP that does not fit into one segment of a JPEG goes on in others, as extended XMP.
    """
    form = form_of(data)
    packets: list[bytes] = []
    extended: dict[int, bytes] = {}
    with contextlib.suppress(CutShort, struct.error):
        if form == TIFF:
            value = next(directories(data), {}).get(_TIFF_XMP)
            packets += [] if value is None else [data[value.offset : value.offset + value.length]]
        elif form is not None:
            for part in parts(data):
                if is_xmp(data, part):
                    packets.append(_packet(data, part))
                elif form == JPEG and data.startswith(EXTENDED_START, part.content) and part.kind == APP1:
                    # Then a digest, the size of all, and the place of this part.
                    at = part.content + len(EXTENDED_START) + 36
                    extended[struct.unpack_from(">I", data, at)[0]] = data[at + 4 : part.content_end]
    return next(filter(None, packets), b""), b"".join(extended[place] for place in sorted(extended))


def is_xmp(data: bytes, part: Part) -> bool:
    """Whether a part of a JPEG, PNG or WebP file is its XMP packet."""
    form = form_of(data)
    if form == WEBP:
        return part.kind == b"XMP "
    kind, start = (APP1, XMP_START) if form == JPEG else (b"iTXt", PNG_XMP)
    return part.kind == kind and data.startswith(start, part.content)


def _packet(data: bytes, part: Part) -> bytes:
    content = data[part.content : part.content_end]
    if content.startswith(XMP_START):
        return content[len(XMP_START) :]
    if not content.startswith(PNG_XMP):
        return content
    fields = content[len(PNG_XMP) + 2 :].split(b"\0", 2)  # a language, a keyword in it, the text
    if content[len(PNG_XMP) :][:1] != b"\1":
        return fields[-1]
    try:
        return zlib.decompressobj().decompress(fields[-1], _MOST_XMP)
    except zlib.error:  # damaged, but there
        return fields[-1]
