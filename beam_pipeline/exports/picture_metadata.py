"""Writes description and keywords into a picture's file, as XMP and IPTC; its pixel data do not change.

Exiv2 is C++ and reads files that nobody vouches for, so it works in a process of its own: one that crashes or hangs
costs that picture and no other. Nothing but bytes goes between the two.
"""

from __future__ import annotations

import json
from typing import Any

from beam_pipeline.options.results import APPEND, OVERWRITE
from beam_pipeline.runtime.isolated_process import Handler, IsolatedProcess, ProcessDied, Refused, RequestLimits

_SECONDS = 60  # for one picture; a 100 MB TIFF takes less than one
_DESCRIPTION, _KEYWORDS = "Xmp.dc.description", "Xmp.dc.subject"
_IPTC_DESCRIPTION, _IPTC_KEYWORDS = "Iptc.Application2.Caption", "Iptc.Application2.Keywords"
_IPTC_FORMATS = ("image/jpeg", "image/tiff")  # where IPTC's older form is at home; elsewhere XMP alone
_IPTC_LONGEST, _IPTC_LONGEST_KEYWORD = 2000, 64  # bytes, by the IIM standard
_LIMITS = RequestLimits(_SECONDS, _SECONDS, memory_bytes=1 << 30, memory_per_byte=8)  # it copies the file a few times


class UnwritableMetadata(Exception):
    """A picture's file cannot take the metadata; the message is the reason, for a person."""


class MetadataWriter:
    """Adds description and keywords to the bytes of a picture; a context manager, since it holds a process."""

    def __init__(self) -> None:
        self._process: IsolatedProcess | None = None

    def __enter__(self) -> MetadataWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.close()

    def write(self, data: bytes, caption: str, keywords: tuple[str, ...], mode: str) -> bytes | None:
        """Content of a picture's file -> new content; None where the file stays as it is.

        Args:
          data: the whole file.
          caption: for its description. An existing description is kept (skip), gets the caption appended (append), or
            is replaced (overwrite).
          keywords: added to the existing ones.
          mode: one of `options.results.MODES`.

        Raises:
          UnwritableMetadata: not a format that holds metadata, or a broken file.
        """
        if self._process is None:
            self._process = IsolatedProcess(f"{__name__}:{start_writer.__name__}", [], _LIMITS)
        try:
            answer = self._process.request(json.dumps([caption, keywords, mode]).encode(), data)
        except ProcessDied as death:
            self._process = None
            if death.too_slow:
                raise UnwritableMetadata(f"took more than {_SECONDS} seconds") from death
            raise UnwritableMetadata(f"crashes the metadata library ({death})") from death
        except Refused as refusal:
            raise UnwritableMetadata(str(refusal)) from refusal
        return answer[0] if answer else None


def start_writer() -> Handler:
    """Handler of the isolated process: settings in JSON and a file -> its new content, or nothing where it stays."""
    import pyexiv2  # noqa: F401  # what the library itself takes is no picture's memory

    def handle(settings: bytes, data: bytes) -> list[bytes]:
        try:
            written = with_metadata(data, *json.loads(settings))
        except UnwritableMetadata as error:
            raise Refused(str(error)) from error
        return [] if written is None else [written]

    return handle


def with_metadata(data: bytes, caption: str, keywords: list[str], mode: str) -> bytes | None:
    """Does what `MetadataWriter.write` does, in this process."""
    import pyexiv2

    pyexiv2.set_log_level(4)  # no warnings about what other programs wrote
    try:
        with pyexiv2.ImageData(data) as image:
            xmp = image.read_xmp()
            description = _description(_plain(xmp.get(_DESCRIPTION)), caption, mode)
            if description is None:
                return None
            words = _listed(xmp.get(_KEYWORDS))
            known = {word.lower() for word in words}
            words += [word for word in keywords if word.lower() not in known]
            image.modify_xmp({_DESCRIPTION: {'lang="x-default"': description}, _KEYWORDS: words})
            if image.get_mime_type() in _IPTC_FORMATS:
                image.modify_iptc(
                    {
                        "Iptc.Envelope.CharacterSet": "\x1b%G",  # UTF-8
                        _IPTC_DESCRIPTION: _cut(description, _IPTC_LONGEST),
                        _IPTC_KEYWORDS: [_cut(word, _IPTC_LONGEST_KEYWORD) for word in words],
                    }
                )
            return image.get_bytes()
    except RuntimeError as error:  # all that pyexiv2 raises
        raise UnwritableMetadata(" ".join(str(error).split())[:200]) from error


def _description(existing: str, caption: str, mode: str) -> str | None:
    """Existing description and caption -> the new description; None where the file stays as it is."""
    if not existing:
        return caption
    if mode == OVERWRITE:
        return None if existing == caption else caption
    return f"{existing} {caption}" if mode == APPEND and caption not in existing else None


def _plain(value: Any) -> str:
    """Value of an XMP text, {language: text} or from some programs a plain text -> the text."""
    if isinstance(value, dict):
        value = value.get('lang="x-default"') or next(iter(value.values()), "")
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _cut(text: str, size: int) -> str:
    """Text -> the longest beginning of it that fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
