"""Descriptions and keywords inside the pictures of a collection, or inside copies of them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from beam_pipeline.exports.embedded import Written
from beam_pipeline.exports.outcomes import TAKEN_BACK, UNCHANGED, WRITTEN
from beam_pipeline.exports.picture_metadata import MetadataWriter
from beam_pipeline.exports.places import NoPlace, Places
from beam_pipeline.exports.xmp_merge import Words
from beam_pipeline.inputs.written_mark import NAMESPACE
from beam_pipeline.options.results import SKIP
from beam_pipeline.results.caption_index import CaptionedFile, CaptionIndex
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.extras import require
from beam_pipeline.runtime.replaced_file import NotReplaceable
from beam_pipeline.runtime.text import utf8

log = logging.getLogger("captionbeam")

_MOST_BYTES = 1 << 40  # no limit


@dataclass(frozen=True)
class PictureFiles:
    """Pictures with metadata, in place or as copies.

    Attributes:
      places: where they are written.
      writer: writes into the bytes of one.
    """

    places: Places
    writer: MetadataWriter

    def write_into(self, file: CaptionedFile, words: Words) -> str:
        """Writes into a picture; returns what became of it.

        Raises:
          UnwritableMetadata: it cannot hold the words, or is another picture than was captioned.
          OSError: it cannot be read or replaced.
        """
        path = self.places.of_picture(file.uri)
        data = self.places.reader.read(file.uri)
        return self._replace(path, data, _noted(file, self.writer.write(data, words)), WRITTEN)

    def take_back(self, file: CaptionedFile) -> str:
        """Takes out of a picture what was written into it; returns what became of it. Raises as `write_into`."""
        try:
            path = self.places.of_picture(file.uri)
        except NoPlace:  # nothing was ever written into it
            return UNCHANGED
        if not self.places.holds(path):
            return UNCHANGED
        data = self.places.reader.read(file.uri)
        if NAMESPACE.encode() not in data:
            return UNCHANGED
        require("pyexiv2", "metadata", f"{utf8(path)}: has metadata of an export")
        return self._replace(path, data, self.writer.remove(data, file.sha256).data, TAKEN_BACK)

    def _replace(self, path: str, before: bytes, data: bytes | None, outcome: str) -> str:
        if data is None:
            return UNCHANGED
        self.places.write(path, data, before)
        return outcome

    def write_copy(self, file: CaptionedFile, words: Words, index: CaptionIndex) -> str:
        """Writes a copy of a picture; returns what became of it. Raises as `write_into`.

        Args:
          index: of the collection, none of whose pictures is overwritten.
        """
        path = self.places.of_picture(file.uri)
        before = None
        if self.places.holds(path):
            own = storage.is_local(file.uri) and os.path.realpath(path) == os.path.realpath(file.uri)
            if own or index.holds(path):
                raise NotReplaceable(
                    f"its copy would overwrite {path}, a picture of the collection; choose another --output"
                )
            if words.mode == SKIP:
                return UNCHANGED
            before = self.places.read(path, _MOST_BYTES)
        data = self.places.reader.read(file.uri)
        written = _noted(file, self.writer.write(data, words)) or data
        if written == before:
            return UNCHANGED
        self.places.write(path, written, before)
        return WRITTEN


def _noted(file: CaptionedFile, written: Written) -> bytes | None:
    if written.note:
        log.warning("%s: %s", utf8(file.uri), written.note)
    return written.data
