"""Caption files and split lists, read line by line.

Two forms, told apart by their content:

- Kaggle's CSV: a header that names the columns `image` and `caption`, then one caption a row.
- Flickr8k's token file: `name.jpg#0<TAB>caption`.

A bad line is data: it is counted and described as `file:line: reason`, and the rest is read. Files
are never read as a whole, so a remote file of any size will do.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from training.errors import UserError
from training.storage import reading

COLUMNS = ("image", "caption")
FORMS = "a CSV file with the columns image,caption or Flickr8k's lines name.jpg#0<TAB>caption"

MAX_PROBLEMS = 100  # described; others are only counted, so that a damaged file of any size needs little memory
_SNIFFED_LINES = 100  # a token file may begin with bad lines
_MAX_ROW_LINES = 50  # in a longer quoted CSV field, the closing quote is missing
_CHUNK_BYTES = 1 << 20
_TOKEN_LINE = re.compile(r"(?P<image>.*)#\d+\s*\t(?P<text>.*)", re.DOTALL)

_Line = tuple[int, bytes]  # number (the first is 1), bytes without the line end


@dataclass(frozen=True)
class CaptionRow:
    """One caption.

    Attributes:
      image: the picture's name exactly as written, without `#0`.
      text: the caption.
      line: where it begins, from 1.
    """

    image: str
    text: str
    line: int


@dataclass(frozen=True)
class Problem:
    """A line that could not be used: file, line number from 1, reason."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class CaptionFile:
    """The rows of one caption file; every iteration reads and counts it anew.

    Attributes:
      path: file, local or on any TensorFlow file system.
      form: "csv" or "token".
      rows: good rows of the last iteration.
      bad_lines: lines that it could not use.
      problems: the first `MAX_PROBLEMS` of these.
    """

    path: str
    form: Literal["csv", "token"]
    rows: int = 0
    bad_lines: int = 0
    problems: list[Problem] = field(default_factory=list)

    def __iter__(self) -> Iterator[CaptionRow]:
        """Yields the good rows in the order of the file.

        Raises:
          UserError: the file cannot be read, or (at the end) not one row was good.
        """
        self.rows, self.bad_lines, self.problems = 0, 0, []
        parse = _parse_csv if self.form == "csv" else _parse_token_lines
        for item in parse(_read_lines(self.path)):
            if isinstance(item, CaptionRow):
                self.rows += 1
                yield item
            else:
                self.bad_lines += 1
                if len(self.problems) < MAX_PROBLEMS:
                    self.problems.append(Problem(self.path, *item))
        if not self.rows:
            why = f"; line {self.problems[0].line}: {self.problems[0].reason}" if self.problems else ""
            raise UserError(f"{self.path}: not one usable caption in it{why}; expected {FORMS}")


def read_captions(path: str) -> CaptionFile:
    """Path of a caption file -> its rows, still unread; only its form is detected.

    Raises:
      UserError: the file is missing, unreadable, empty or of neither form.
    """
    lines = (line for line in _read_lines(path) if line[1].strip())
    sample = list(islice(lines, _SNIFFED_LINES))
    if not sample:
        raise UserError(f"{path}: the file is empty; expected {FORMS}")
    columns = _header(sample[0][1])
    if set(COLUMNS) <= set(columns):
        return CaptionFile(path, "csv")
    if any(_TOKEN_LINE.fullmatch(line.decode(errors="replace")) for _, line in sample):
        return CaptionFile(path, "token")
    names = ",".join(columns) if columns else "bytes that are not UTF-8 text"
    raise UserError(f"{path}: found the columns {_shortened(names)}; expected {FORMS}")


def read_image_list(path: str) -> list[str]:
    """Path of a list with one image name per line -> the names in order, each once, exactly as written.

    Raises:
      UserError: the file is missing, unreadable, empty or not UTF-8.
    """
    names: dict[str, None] = {}
    for number, line in _read_lines(path):
        try:
            name = line.decode().strip()
        except UnicodeDecodeError:
            raise UserError(f"{path}:{number}: not UTF-8 text; expected one image name per line") from None
        if name:
            names[name] = None
    if not names:
        raise UserError(f"{path}: names no picture; expected one name per line")
    return list(names)


def normalized_name(name: str) -> str:
    """Image name -> its composed form (Unicode NFC), in which two encodings of one name are equal.

    macOS stores `ü` as two code points, caption files mostly as one. Try the exact names first: both may exist.
    """
    return unicodedata.normalize("NFC", name)


def _parse_token_lines(lines: Iterator[_Line]) -> Iterator[CaptionRow | tuple[int, str]]:
    """Lines -> rows, or (line number, reason)."""
    for number, raw in lines:
        if not raw.strip():
            continue
        try:
            match = _TOKEN_LINE.fullmatch(raw.decode())
        except UnicodeDecodeError:
            yield number, "not UTF-8 text"
            continue
        if match:
            yield _row(match["image"], match["text"], number)
        elif b"\t" not in raw:
            yield number, "no tab; expected name.jpg#0<TAB>caption"
        else:
            yield number, "no #number before the tab; expected name.jpg#0<TAB>caption"


def _parse_csv(lines: Iterator[_Line]) -> Iterator[CaptionRow | tuple[int, str]]:
    """Lines -> rows, or (line number, reason); the first line that is not blank is the header.

    The lines of a quoted field are joined here and not by `csv.reader`, which would read the rest of the file into a
    field whose closing quote is missing. Here only that line is lost.
    """
    source = _PushBack(lines)
    columns: list[str] = []
    for number, raw in source:
        if not raw.strip():
            continue
        if not columns:
            columns = _header(raw)
            continue
        try:
            fields = _csv_fields(raw, source)
        except UnicodeDecodeError:
            yield number, "not UTF-8 text"
        except csv.Error as error:
            yield number, str(error)
        else:
            if len(fields) == len(columns):
                record = dict(zip(columns, fields, strict=True))
                yield _row(record["image"], record["caption"], number)
            else:
                count = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
                yield number, f"{count} where the header has {len(columns)}; quote a caption that holds commas"


def _csv_fields(first: bytes, source: _PushBack) -> list[str]:
    """First line of a row -> its fields; takes from `source` only the lines that belong to the row.

    Raises:
      csv.Error: a quote is misplaced or never closed; the lines after the first one are put back.
      UnicodeDecodeError: the bytes are not UTF-8; the lines after the first one are put back.
    """
    taken: list[_Line] = []
    row = first
    try:
        # In a row's text every quote opens or closes a field or is half of a pair, so an odd number means "goes on".
        while _ends_inside_quotes(row):
            line = next(source, None)
            if line is None or len(taken) == _MAX_ROW_LINES:
                taken += [line] if line else []
                raise csv.Error("a quote is opened and never closed")
            taken.append(line)
            row += b"\n" + line[1].removesuffix(b"\r")
        try:
            return next(csv.reader([row.decode()], strict=True))
        except csv.Error as error:
            raise csv.Error(f"misplaced quote ({error})") from None
    except (csv.Error, UnicodeDecodeError):
        source.put_back(taken)
        raise


def _ends_inside_quotes(row: bytes) -> bool:
    """Bytes of a row so far -> whether a quoted field is still open at their end."""
    inside = False
    at_start = True  # of a field: only there does a quote open one; elsewhere it is a plain character
    for char in row:
        if inside:
            inside = char != 0x22  # a doubled quote closes here and opens again at once
            at_start = not inside
        else:
            inside = at_start and char == 0x22
            at_start = char == 0x2C
    return inside


class _PushBack(Iterator[_Line]):
    """An iterator that takes lines back."""

    def __init__(self, lines: Iterator[_Line]):
        self._lines = lines
        self._waiting: deque[_Line] = deque()

    def __next__(self) -> _Line:
        return self._waiting.popleft() if self._waiting else next(self._lines)

    def put_back(self, lines: list[_Line]) -> None:
        """These come next, in this order."""
        self._waiting.extendleft(reversed(lines))


def _row(image: str, text: str, number: int) -> CaptionRow | tuple[int, str]:
    image, text = image.strip(), text.strip()
    if not image:
        return number, "no image name"
    if not text:
        return number, "the caption is empty"
    return CaptionRow(image, text, number)


def _header(line: bytes) -> list[str]:
    """First line -> column names in lower case; none if it is not text."""
    try:
        return [column.strip().lower() for column in next(csv.reader([line.decode().strip()]))]
    except (UnicodeDecodeError, csv.Error):
        return []


def _shortened(text: str, limit: int = 80) -> str:
    """Text -> printable text of at most `limit` characters, for a one-line message."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read_lines(path: str) -> Iterator[_Line]:
    """Path -> numbered lines as bytes, without line ends and byte order marks.

    TensorFlow drops every carriage return of a remote line, also those inside it; hence the splitting here.

    Raises:
      UserError: the file cannot be read.
    """
    number = 0
    tail = b""
    try:
        with reading(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                *lines, tail = (tail + chunk).split(b"\n")
                for line in lines:
                    number += 1
                    yield number, _stripped(line)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected a readable text file") from error
    if tail:
        yield number + 1, _stripped(tail)


def _stripped(line: bytes) -> bytes:
    # Not only at the head of the file: files with a mark of their own are often joined with `cat`.
    return line.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\r")
