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
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from training.errors import UserError
from training.storage import reading
from training.text.lines import MAX_LINE_BYTES, TOO_LONG, Line, csv_rows, numbered_lines

COLUMNS = ("image", "caption")
FORMS = "a CSV file with the columns image,caption or Flickr8k's lines name.jpg#0<TAB>caption"

MAX_PROBLEMS = 100  # described; others are only counted, so that a damaged file of any size needs little memory
_SNIFFED_LINES = 100  # a token file may begin with bad lines
_TOKEN_LINE = re.compile(r"(?P<image>.*)#\d+\s*\t(?P<text>.*)", re.DOTALL)


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


def _parse_token_lines(lines: Iterator[Line]) -> Iterator[CaptionRow | tuple[int, str]]:
    """Lines -> rows, or (line number, reason)."""
    for number, raw in lines:
        if not raw.strip():
            continue
        if len(raw) > MAX_LINE_BYTES:
            yield number, TOO_LONG
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


def _parse_csv(lines: Iterator[Line]) -> Iterator[CaptionRow | tuple[int, str]]:
    """Lines -> rows, or (line number, reason); the first line that is not blank is the header."""
    columns = next((_header(raw) for _, raw in lines if raw.strip()), [])
    for number, fields in csv_rows(lines):
        if isinstance(fields, str):
            yield number, fields
        elif len(fields) == len(columns):
            record = dict(zip(columns, fields, strict=True))
            yield _row(record["image"], record["caption"], number)
        else:
            count = f"{len(fields)} field{'s' if len(fields) > 1 else ''}"
            yield number, f"{count} where the header has {len(columns)}; quote a caption that holds commas"


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


def _read_lines(path: str) -> Iterator[Line]:
    """Path -> what `numbered_lines` gives.

    TensorFlow drops every carriage return of a remote line, also those inside it; hence the splitting there.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        with reading(path) as file:
            yield from numbered_lines(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected a readable text file") from error
