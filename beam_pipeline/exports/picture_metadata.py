"""Description and keywords inside a picture's file, as XMP and IPTC; its pixels stay as they are, byte for byte.

Exiv2 is C++ and reads files that nobody vouches for, so it works in a process of its own: one that crashes or hangs
costs that picture and no other. Nothing but bytes goes between the two.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any

from beam_pipeline.options.results import APPEND, OVERWRITE
from training.errors import UserError

_SECONDS = 60  # for one picture; a 100 MB TIFF takes less than one
_DESCRIPTION, _KEYWORDS = "Xmp.dc.description", "Xmp.dc.subject"
_IPTC_DESCRIPTION, _IPTC_KEYWORDS = "Iptc.Application2.Caption", "Iptc.Application2.Keywords"
_IPTC_FORMATS = ("image/jpeg", "image/tiff")  # where IPTC's older form is at home; elsewhere XMP alone
_IPTC_LONGEST, _IPTC_LONGEST_KEYWORD = 2000, 64  # bytes, by the IIM standard
_WRITTEN, _LEFT, _REFUSED = b"written", b"left", b"refused"


class UnwritableMetadata(Exception):
    """A picture's file cannot take the metadata; the message is the reason, for a person."""


def require_library() -> None:
    """Raises UserError where pyexiv2 is not installed."""
    if importlib.util.find_spec("pyexiv2") is None:
        raise UserError(
            '--format metadata: needs pyexiv2; pip install "captionbeam[metadata]" brings it (it is under the GPL), '
            "or take --format xmp"
        )


class MetadataWriter:
    """Bytes of a picture -> the same with description and keywords; a context manager, as it holds a process."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection

    def __enter__(self) -> MetadataWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def write(self, data: bytes, caption: str, keywords: tuple[str, ...], mode: str) -> bytes | None:
        """File content -> new content; None where what the file says already is left as it is.

        Args:
          data: the whole file.
          caption: for its description. A description that is there is kept (skip), kept with the caption behind it
            (append), or replaced (overwrite).
          keywords: added to those that are there.
          mode: one of `options.results.MODES`.

        Raises:
          UnwritableMetadata: not a format that holds metadata, or a broken file.
        """
        if self._process is None:
            # A fresh interpreter: to fork one that runs TensorFlow's threads is to risk a deadlock.
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.send_bytes(json.dumps([caption, keywords, mode]).encode())
            self._pipe.send_bytes(data)
            if not self._pipe.poll(_SECONDS):
                raise UnwritableMetadata(f"took more than {_SECONDS} seconds")
            status, answer = self._pipe.recv_bytes(), self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            self._end()
            raise UnwritableMetadata("crashes the metadata library") from error
        except UnwritableMetadata:
            self._end()
            raise
        if status == _REFUSED:
            raise UnwritableMetadata(answer.decode())
        return answer if status == _WRITTEN else None

    def _end(self) -> None:
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe: Connection) -> None:
    while True:
        try:
            caption, keywords, mode = json.loads(pipe.recv_bytes())
            data = pipe.recv_bytes()
        except EOFError:
            os._exit(0)
        try:
            written = with_metadata(data, caption, keywords, mode)
        except UnwritableMetadata as error:
            answer = (_REFUSED, str(error).encode(errors="replace"))
        else:
            answer = (_LEFT, b"") if written is None else (_WRITTEN, written)
        for part in answer:
            pipe.send_bytes(part)


def with_metadata(data: bytes, caption: str, keywords: list[str], mode: str) -> bytes | None:
    """What `MetadataWriter.write` does, in this process."""
    import pyexiv2

    pyexiv2.set_log_level(4)  # warnings about what other programs wrote are nobody's business here
    try:
        with pyexiv2.ImageData(data) as image:
            xmp = image.read_xmp()
            there = _plain(xmp.get(_DESCRIPTION))
            description = _description(there, caption, mode)
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


def _description(there: str, caption: str, mode: str) -> str | None:
    """What the file is to say; None where it stays as it is."""
    if not there:
        return caption
    if mode == OVERWRITE:
        return None if there == caption else caption
    return f"{there} {caption}" if mode == APPEND and caption not in there else None


def _plain(value: Any) -> str:
    """XMP text, which comes as {language: text}, or as plain text from some programs."""
    if isinstance(value, dict):
        value = value.get('lang="x-default"') or next(iter(value.values()), "")
    return value if isinstance(value, str) else ""


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _cut(text: str, size: int) -> str:
    """Text -> as much of its beginning as fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
