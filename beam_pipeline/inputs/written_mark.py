"""Reads the mark that `export --format metadata` leaves in a picture: which sha256 the file had before.

The mark is XMP in our namespace. XMP stands uncompressed in every format, so that a program may find it without knowing
the format; so does this. A mark holds the digest of the image beside which it was written, and counts only as long as
the file still shows that image: who edits a picture keeps its metadata, and what is then to see was never captioned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from beam_pipeline.inputs.image_content import content_digest

PREFIX, NAMESPACE = "captionbeam", "urn:captionbeam:metadata:1.0/"
SHA256, IMAGE = "Sha256", "Image"  # names of properties
MOST_STATES = 16  # sha256s in a mark

_URI = NAMESPACE.encode()
_HEX = rb"[0-9a-f]{64}"
_STATES = rb"%b(?: %b){0,%d}" % (_HEX, _HEX, MOST_STATES - 1)


def _property(name: str, value: bytes) -> re.Pattern[bytes]:
    """A simple property as text of an element, or as an attribute; other programs choose the prefix and the form."""
    return re.compile(rb':%b(?:>|\s*=\s*["\'])(%b)["\'<]' % (name.encode(), value))


_SHA256, _IMAGE = _property(SHA256, _STATES), _property(IMAGE, _HEX)


class MarkSearch:
    """Says whether a file may carry a mark, while its blocks are read for something else, such as its hash."""

    def __init__(self) -> None:
        self.found = False
        self._end = b""

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Blocks of a file -> the same blocks; `found` is set once our namespace has been among them."""
        for block in blocks:
            self.found = self.found or _URI in block or _URI in self._end + block[: len(_URI)]
            self._end = (self._end + block)[-len(_URI) :] if len(block) < len(_URI) else block[-len(_URI) :]
            yield block


def states_before(data: bytes) -> tuple[str, ...]:
    """A picture's file -> the sha256s that it had before we wrote metadata into it, the first one first.

    The first is that of the file before any of our writings, and stays at every further one. The others are those of
    files that already carried a mark and were captioned as they were. Empty where there is no mark, or where the file
    shows another image than the mark was written beside. A picture is known if any of them is.
    """
    if _URI not in data:
        return ()
    states, image = _SHA256.search(data), _IMAGE.search(data)
    if not states or not image or image[1].decode() != content_digest(data):
        return ()
    return tuple(states[1].decode().split(" "))
