"""Writes description and keywords into a picture's file, and takes them out again; its pixel data do not change.

Exiv2 is C++ and reads files that nobody vouches for, so it works in a process of its own: one that crashes or hangs
costs that picture and no other. Nothing but bytes goes between the two.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from beam_pipeline.exports.embedded import UnwritableMetadata, Written, remove_words, write_words
from beam_pipeline.exports.xmp_merge import Words
from beam_pipeline.runtime.extras import require
from beam_pipeline.runtime.isolated_process import Handler, IsolatedProcess, ProcessDied, Refused, RequestLimits

_SECONDS = 60  # for one picture; a 100 MB TIFF takes less than one
_LIMITS = RequestLimits(_SECONDS, _SECONDS, memory_bytes=1 << 30, memory_per_byte=8)  # it copies the file a few times


class MetadataWriter:
    """Writes metadata into the bytes of pictures; a context manager, since it holds a process."""

    def __init__(self) -> None:
        self._process: IsolatedProcess | None = None

    def __enter__(self) -> MetadataWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.close()

    def write(self, data: bytes, words: Words) -> Written:
        """Content of a picture's file -> the same with description and keywords.

        The file must be the picture that the words are for: by its sha256, or by our mark in it. What an earlier export
        wrote into it is replaced.

        Raises:
          UnwritableMetadata: another picture, no format that holds metadata, a broken file, or one in which something
            else would be lost.
        """
        return self._request(data, json.dumps(asdict(words)))

    def remove(self, data: bytes, sha256: str) -> Written:
        """Content of a picture's file -> the same without what earlier exports wrote.

        What they replaced is there again. What a person has changed since stays.

        Args:
          data: content of the file.
          sha256: of the picture, as the captions have it.

        Raises:
          UnwritableMetadata: marked as another picture, a broken file, or one in which something else would be lost.
        """
        return self._request(data, sha256)

    def _request(self, data: bytes, words: str) -> Written:
        if self._process is None:
            require("pyexiv2", "metadata", "metadata in pictures")
            self._process = IsolatedProcess(f"{__name__}:{start_writer.__name__}", [], _LIMITS)
        try:
            note, *written = self._process.request(data, words.encode())
        except ProcessDied as death:
            self._process = None
            if death.too_slow:
                raise UnwritableMetadata(f"took more than {_SECONDS} seconds") from death
            raise UnwritableMetadata(f"crashes the metadata library ({death})") from death
        except Refused as refusal:
            raise UnwritableMetadata(str(refusal)) from refusal
        return Written(written[0] if written else None, note.decode())


def start_writer() -> Handler:
    """Handler of the isolated process: a file, and words in JSON or a sha256 -> a note, and content unless it stays."""
    import pyexiv2  # noqa: F401  # what the library itself takes is no picture's memory

    def handle(data: bytes, words: bytes) -> list[bytes]:
        try:
            is_json = words.startswith(b"{")
            written = write_words(data, _words(words)) if is_json else remove_words(data, words.decode())
        except UnwritableMetadata as error:
            raise Refused(str(error)) from error
        return [written.note.encode(), *([] if written.data is None else [written.data])]

    return handle


def _words(settings: bytes) -> Words:
    fields = json.loads(settings)
    return Words(**fields | {"keywords": tuple(fields["keywords"])})
