"""Captions as lines of text files that may be a person's: encoding, byte order mark and line ends stay as they are."""

from __future__ import annotations

import codecs
import re

from beam_pipeline.runtime.text import utf8

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile("(\r\n|\n|\r)")
_NOT_LATIN_1 = re.compile(b"[\x80-\x9f]")  # letters and quotation marks in the encodings of Windows


class UnknownText(ValueError):
    """A text file cannot take a caption; the message is the reason, for a person."""


def new_text(caption: str) -> bytes:
    """Caption -> content of a new text file, one line in UTF-8."""
    return f"{_line(caption)}\n".encode()


def added_line(data: bytes, caption: str) -> bytes | None:
    """Content of a text file and a caption -> what to append, so that the caption is a line; None if a line is that.

    Raises:
      UnknownText: its encoding is unknown, or lacks a character of the caption.
    """
    mark, encoding = _encoding(data)
    parts = _LINE_END.split(_decoded(data[len(mark) :], encoding))
    if _line(caption) in parts:
        return None
    ends = parts[1::2]
    end = max(ends, key=ends.count) if ends else "\n"
    if encoding == "latin-1" and _NOT_LATIN_1.search(data):
        encoding = "ascii"  # which the other encodings of one byte a letter contain
    try:
        return f"{end if parts[-1] else ''}{_line(caption)}{end}".encode(encoding)
    except UnicodeEncodeError as error:
        lacking = _line(caption)[error.start - len(end if parts[-1] else "")]
        raise UnknownText(f"is not in UTF-8, and may lack {lacking!r}; it is left alone, save it as UTF-8") from error


def without_line(data: bytes, caption: str, added: bytes, replaced: bytes) -> bytes:
    """Content of a text file that a caption was written into -> content without it; the same if no line is the caption.

    Args:
      added: what `added_line` or `new_text` gave.
      replaced: whole content that it took the place of; nothing where it was appended.

    Raises:
      UnknownText: its encoding is unknown.
    """
    if replaced and data == replaced:
        return data
    if data == added or (data.endswith(added) and not replaced):
        return data.removesuffix(added) + replaced
    # Somebody wrote into it since.
    mark, encoding = _encoding(data)
    parts = _LINE_END.split(_decoded(data[len(mark) :], encoding))
    if _line(caption) not in parts[::2]:
        return data
    place = 2 * parts[::2].index(_line(caption))
    old_mark, old_encoding = _encoding(replaced)
    parts[place : place + 2] = [_decoded(replaced[len(old_mark) :], old_encoding)]
    try:
        return mark + "".join(parts).encode(encoding)
    except UnicodeEncodeError as error:
        raise UnknownText("has another encoding than the text that was replaced in it; it is left alone") from error


def _line(caption: str) -> str:
    return " ".join(utf8(caption).split())


def _encoding(data: bytes) -> tuple[bytes, str]:
    """Content of a text file -> (its byte order mark, its encoding)."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return mark, encoding
    if b"\0" in data:
        raise UnknownText("is in an unknown encoding; it is left alone, save it as UTF-8 or with a byte order mark")
    try:
        data.decode()
        return b"", "utf-8"
    except UnicodeDecodeError:
        return b"", "latin-1"


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnknownText(f"is damaged: not {encoding.upper()}, as its mark says; it is left alone") from error
