"""Takes out of a PNG what its pixels do not need, so that no metadata, however odd, ever costs a picture.

Pillow gives a PNG up for a damaged chunk that every viewer skips, and for texts and profiles that unpack to more than
a megabyte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

LARGEST_METADATA = 8 << 20  # bytes of a text or colour profile, unpacked; profiles of printing presses have 1 to 3 MB
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = 25  # where it stands in the file
_TRANSPARENCY = {0: 2, 2: 6, 3: 1}  # bytes of tRNS that a colour type needs at least
_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # they may hold the orientation


def without_metadata(data: bytes) -> tuple[bytes, bool]:
    """Content of an image file -> the same, of a PNG without what its pixels do not need.

    Returns:
      The content, and whether a colour profile was left out because it is too large.
    """
    if not data.startswith(_SIGNATURE):
        return data, False
    kept = [memoryview(data)[: len(_SIGNATURE)]]
    is_whole, is_too_large = True, False
    for kind, content, chunk in _chunks(data):
        if kind == b"iCCP" and _is_too_large(content.partition(b"\0")[2][1:]):
            is_whole, is_too_large = False, True
        elif kind[0] & 0x20 and not _is_needed(kind, content, chunk, data):  # a small first letter: may be skipped
            is_whole = False
        else:
            kept.append(chunk)
    return (data if is_whole else b"".join(kept)), is_too_large


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, memoryview]]:
    """PNG -> (kind, content, the whole chunk) of its chunks; the content of pixels is not given."""
    view, at = memoryview(data), len(_SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        kind = bytes(view[at + 4 : at + 8])
        chunk = view[at : at + length + 12]
        yield kind, b"" if kind == b"IDAT" else bytes(chunk[8:-4]), chunk
        at += length + 12
        if kind == b"IEND":
            return


def _is_needed(kind: bytes, content: bytes, chunk: memoryview, data: bytes) -> bool:
    """Whether a chunk that may be skipped is sound, and says how the pixels are to be shown."""
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    keyword, _, rest = content.partition(b"\0")
    if kind == b"tRNS":
        return len(content) >= _TRANSPARENCY.get(data[_COLOUR_TYPE], 1 << 31)
    if kind == b"iCCP":
        return rest[:1] == b"\0"  # packed by the only method that there is
    if kind == b"zTXt":
        return keyword in _TEXTS and rest[:1] == b"\0" and not _is_too_large(rest[1:])
    if kind == b"iTXt":
        text = rest[2:].split(b"\0", 2)[-1]
        return keyword in _TEXTS and not (_is_too_large(text) if rest[:1] == b"\1" else len(text) > LARGEST_METADATA)
    if kind == b"tEXt":
        return keyword in _TEXTS and len(rest) <= LARGEST_METADATA
    return kind == b"eXIf"


def _is_too_large(packed: bytes) -> bool:
    try:
        return len(zlib.decompressobj().decompress(packed, LARGEST_METADATA + 1)) > LARGEST_METADATA
    except zlib.error:  # Pillow leaves it out
        return False
