"""Lines of text files and rows of tables, as people and their programs write them; a bad one is named, not the end.

No file is held in memory, and no line or row beyond a limit.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

MAX_LINE_BYTES = 1 << 20
TOO_LONG = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
NOT_UTF8 = "not UTF-8 text, perhaps Latin-1 or Windows-1252; save the file as UTF-8"
_MAX_ROW_LINES = 50  # in a longer quoted field, the closing quote is missing
_CHUNK_BYTES = 1 << 20
# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_QUOTE = 0x22

Line = tuple[int, bytes]  # number (the first is 1), UTF-8 without the line end


def numbered_lines(file: BinaryIO) -> Iterator[Line]:
    """Open file -> its lines with their numbers, without line ends and byte order marks.

    UTF-16 and UTF-32 are known by their marks and given as UTF-8; other bytes are given as they are. A line of more
    than MAX_LINE_BYTES is cut a little behind them. Where the file begins with lines that end in CR alone, as those of
    old Macs and of some spreadsheets do, so do all.
    """
    number, tail, end = 1, b"", b""
    for chunk in _utf8_chunks(file):
        end = end or (b"\n" if b"\n" in chunk or b"\r" not in chunk[:-1] else b"\r")
        first, *others = chunk.split(end)
        if len(tail) <= MAX_LINE_BYTES:
            tail += first
        for line in others:
            yield number, _stripped(tail)
            number, tail = number + 1, line
    if tail:
        yield number, _stripped(tail)


def _utf8_chunks(file: BinaryIO) -> Iterator[bytes]:
    decoder = None
    chunk = file.read(_CHUNK_BYTES)
    if encoding := next((name for mark, name in _MARKS.items() if chunk.startswith(mark)), None):
        decoder = codecs.getincrementaldecoder(encoding)("replace")
    while chunk:
        yield decoder.decode(chunk).encode() if decoder else chunk
        chunk = file.read(_CHUNK_BYTES)
    if decoder and (rest := decoder.decode(b"", True)):
        yield rest.encode()


def _stripped(line: bytes) -> bytes:
    # Not only at the head of the file: files with a mark of their own are often joined with `cat`.
    return line.removeprefix(codecs.BOM_UTF8).removesuffix(b"\r")


def csv_rows(
    lines: Iterator[Line], delimiter: str = ",", errors: str = "strict"
) -> Iterator[tuple[int, list[str] | str]]:
    """Lines of a table -> (number of its first line, fields) of each row that is not blank, or a reason for the fields.

    The lines of a quoted field are joined here and not by `csv.reader`, which would read the rest of the file into a
    field whose closing quote is missing. Here only that line is lost.

    Args:
      delimiter: what stands between the fields, one character of ASCII.
      errors: what becomes of bytes that are not UTF-8: "strict" makes such a row a bad one, see `codecs` for others.
    """
    source = _PushBack(lines)
    for number, raw in source:
        if raw.strip():
            try:
                yield number, _fields(raw, source, delimiter, errors)
            except UnicodeDecodeError:
                yield number, NOT_UTF8
            except csv.Error as error:
                yield number, str(error)


def _fields(first: bytes, source: _PushBack, delimiter: str, errors: str) -> list[str]:
    """First line of a row -> its fields; takes from `source` only the lines that belong to the row.

    Raises:
      csv.Error: a quote is misplaced or never closed; the lines after the first one are put back.
      UnicodeDecodeError: the bytes are not UTF-8; the lines after the first one are put back.
    """
    taken: list[Line] = []
    row = [first]
    try:
        inside = _ends_inside_quotes(first, delimiter, False)
        while inside:
            line = next(source, None)
            if line is None or len(taken) == _MAX_ROW_LINES:
                taken += [line] if line else []
                raise csv.Error("a quote is opened and never closed")
            taken.append(line)
            row.append(line[1])
            inside = _ends_inside_quotes(line[1], delimiter, True)
        if any(len(line) > MAX_LINE_BYTES for line in row):
            raise csv.Error(TOO_LONG)
        try:
            return next(csv.reader([b"\n".join(row).decode(errors=errors)], delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise csv.Error(f"misplaced quote ({error})" if '"' in str(error) else str(error)) from None
    except (csv.Error, UnicodeDecodeError):
        source.put_back(taken)
        raise


def _ends_inside_quotes(line: bytes, delimiter: str, inside: bool) -> bool:
    """Line of a row, and whether it begins inside a quoted field -> whether it ends inside one."""
    if _QUOTE not in line:
        return inside
    at_start = not inside  # of a field: only there does a quote open one; elsewhere it is a plain character
    between = ord(delimiter)
    for char in line:
        if inside:
            inside = char != _QUOTE  # a doubled quote closes here and opens again at once
            at_start = not inside
        else:
            inside = at_start and char == _QUOTE
            at_start = char == between
    return inside


class _PushBack(Iterator[Line]):
    """An iterator that takes lines back."""

    def __init__(self, lines: Iterator[Line]):
        self._lines = lines
        self._waiting: deque[Line] = deque()

    def __next__(self) -> Line:
        return self._waiting.popleft() if self._waiting else next(self._lines)

    def put_back(self, lines: list[Line]) -> None:
        """These come next, in this order."""
        self._waiting.extendleft(reversed(lines))
