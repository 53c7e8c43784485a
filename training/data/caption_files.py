"""Caption files and split lists, read line by line.

Two forms, told apart by their content:

- A table as Kaggle's CSV: a heading that names the columns `image` and `caption`, then one caption a row.
- Flickr8k's token file: `name.jpg#0<TAB>caption`, with or without a heading.

A line that gives no caption is data: it is counted and described as `file:line: reason`, and the rest is read. Files
are never read as a whole, so a remote file of any size will do.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

from training.errors import UserError
from training.storage import reading
from training.text.human_captions import MARKED, MAX_CHARACTERS, OVER_LIMIT, WORDLESS, has_words, without_marks
from training.text.lines import MAX_LINE_BYTES, NOT_UTF8, TOO_LONG, Line, csv_rows, numbered_lines
from training.text.plurals import counted

UNREADABLE, HEADING = "caption_lines_unreadable", "caption_headings"  # further kinds of lines without a caption
_IMAGE_COLUMNS = ("image", "image_name", "file_name", "filename")
_CAPTION_COLUMNS = ("caption", "comment")
_DELIMITERS = {",": "commas", "\t": "tabs", "|": "bars", ";": "semicolons"}
FORMS = "a CSV file with the columns image,caption or Flickr8k's lines name.jpg#0<TAB>caption"

MAX_PROBLEMS = 100  # described of a kind; others are only counted: a damaged file of any size needs little memory
_SNIFFED_LINES = 100  # a token file may begin with bad lines
_TOKEN_LINE = re.compile(r"(?P<image>.*)#\d+\s*\t(?P<text>.*)", re.DOTALL)
_WORDS = (
    "image images img picture photo file name filename id number no index url uri path split label "
    "caption captions comment comments text sentence sentences description descriptions title token"
)
_HEADING_WORDS = frozenset(_WORDS.split())


class CaptionRow(NamedTuple):
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
    """A line that gives no caption: file, line number from 1, reason, and kind of fault."""

    path: str
    line: int
    reason: str
    kind: str = UNREADABLE

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


class _Fault(NamedTuple):
    line: int
    reason: str
    kind: str = UNREADABLE


class _Heading(NamedTuple):
    """First line of a table: what stands between its columns, their names in lower case, and which ones are wanted."""

    delimiter: str
    names: list[str]
    image: int
    caption: int


@dataclass
class CaptionFile:
    """The rows of one caption file; every iteration reads and counts it anew.

    Attributes:
      path: file, local or on any TensorFlow file system.
      form: "csv", a table with any of the usual delimiters, or "token".
      rows: good rows of the last iteration.
      counts: lines that gave no caption, by the kind of fault, and captions whose marks were left out (MARKED).
      problems: the first `MAX_PROBLEMS` of each kind of fault.
    """

    path: str
    form: Literal["csv", "token"]
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def __iter__(self) -> Iterator[CaptionRow]:
        """Yields the good rows in the order of the file, without the marks of decoders.

        Raises:
          UserError: the file cannot be read, or (at the end) not one row was good.
        """
        self.rows, self.counts, self.problems = 0, Counter(), []
        parse = _parse_csv if self.form == "csv" else _parse_token_lines
        for item in map(_checked, parse(_read_lines(self.path))):
            if isinstance(item, _Fault):
                self.counts[item.kind] += 1
                if self.counts[item.kind] <= MAX_PROBLEMS:
                    self.problems.append(Problem(self.path, *item))
                continue
            text = without_marks(item.text)
            if text != item.text:
                self.counts[MARKED] += 1
            self.rows += 1
            yield item._replace(text=text)
        if not self.rows:
            faults = [problem for problem in self.problems if problem.kind != HEADING]
            why = f"; line {faults[0].line}: {faults[0].reason}" if faults else ""
            raise UserError(f"{self.path}: not one usable caption in it{why}; expected {FORMS}")


def _checked(item: CaptionRow | _Fault) -> CaptionRow | _Fault:
    """Row -> the same, or what is wrong with it."""
    if isinstance(item, _Fault):
        return item
    if "\0" in item.text or "\0" in item.image:
        return _Fault(item.line, "a NUL character in it")
    if not item.image:
        return _Fault(item.line, "no image name")
    if len(item.text) > MAX_CHARACTERS:
        fault = f"a caption of {counted(len(item.text), 'character')}; at most {MAX_CHARACTERS:,} are taken"
        return _Fault(item.line, fault, OVER_LIMIT)
    if not item.text:
        return _Fault(item.line, "the caption is empty", WORDLESS)
    if not has_words(without_marks(item.text)):
        return _Fault(item.line, f"no word in the caption: {_shortened(item.text)}", WORDLESS)
    return item


def read_captions(path: str) -> CaptionFile:
    """Path of a caption file -> its rows, still unread; only its form is detected.

    Raises:
      UserError: the file is missing, unreadable, empty or of neither form.
    """
    lines = (line for line in _read_lines(path) if line[1].strip())
    sample = [line for _, line in islice(lines, _SNIFFED_LINES)]
    if not sample:
        raise UserError(f"{path}: the file is empty; expected {FORMS}")
    heading = _heading(sample[0])
    token_lines = sum(bool(_TOKEN_LINE.fullmatch(line.decode(errors="replace"))) for line in sample)
    # A token file may have the heading of a table, and a table a caption with a tab.
    if token_lines and (heading is None or 2 * token_lines >= len(sample) - 1):
        return CaptionFile(path, "token")
    if heading:
        _require_one_of_each(heading, path)
        return CaptionFile(path, "csv")
    raise UserError(f"{path}: found {_found(sample[0])}; expected {FORMS}")


def _found(line: bytes) -> str:
    """First line of a file of no known form -> what it is."""
    if b"\0" in line:
        return "NUL characters, as in UTF-16 without a byte order mark"
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        return "bytes that are not UTF-8 text"
    if text.startswith(("{", "[")):
        return f"JSON, {_shortened(text, 40)}"
    return f"the columns {_shortened(text.lower())}"


def _require_one_of_each(heading: _Heading, path: str) -> None:
    for number in (heading.image, heading.caption):
        if heading.names.count(heading.names[number]) > 1:
            raise UserError(f"{path}: two columns named {heading.names[number]}; rename the one that is not meant")


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
            raise UserError(f"{path}:{number}: {NOT_UTF8}") from None
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


def _parse_token_lines(lines: Iterator[Line]) -> Iterator[CaptionRow | _Fault]:
    """Lines -> rows and faults."""
    heading = ""
    is_first = True
    for number, raw in lines:
        if not raw.strip():
            continue
        if len(raw) > MAX_LINE_BYTES:
            yield _Fault(number, TOO_LONG)
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            yield _Fault(number, NOT_UTF8)
            continue
        if match := _TOKEN_LINE.fullmatch(text):
            yield CaptionRow(match["image"].strip(), match["text"].strip(), number)
        elif (is_first and _looks_like_heading(text)) or text.strip() == heading or _has_heading_words(text):
            heading = heading or text.strip()
            yield _Fault(number, f"a heading: {_shortened(text.strip())}", HEADING)
        elif b"\t" not in raw:
            yield _Fault(number, "no tab; expected name.jpg#0<TAB>caption")
        else:
            yield _Fault(number, "no #number before the tab; expected name.jpg#0<TAB>caption")
        is_first = False


def _has_heading_words(text: str) -> bool:
    """Whether all words of a line, two or more, are those of an English heading: `image_name| comment_number`."""
    words = re.findall(r"[^\W_]+", text.lower())
    return len(words) > 1 and _HEADING_WORDS.issuperset(words)


def _looks_like_heading(text: str) -> bool:
    """Whether a first line is a heading in any language: columns of few words, none of them a file name or number."""
    columns = re.split(r"[\t,;|]", text)
    return len(columns) > 1 and all(re.fullmatch(r"(?:[^\W\d]+[ -]?){1,3}", column.strip()) for column in columns)


def _parse_csv(lines: Iterator[Line]) -> Iterator[CaptionRow | _Fault]:
    """Lines -> rows and faults; the first line that is not blank is the heading, and one that repeats it is one too."""
    heading = next((_heading(raw) for _, raw in lines if raw.strip()), None)
    if heading is None:  # the file was replaced since its form was detected
        return
    for number, fields in csv_rows(lines, heading.delimiter):
        if isinstance(fields, str):
            yield _Fault(number, fields)
        elif [name.strip().lower() for name in fields] == heading.names:
            yield _Fault(number, f"the heading once more: {_shortened(','.join(fields))}", HEADING)
        elif len(fields) == len(heading.names):
            yield CaptionRow(fields[heading.image].strip(), fields[heading.caption].strip(), number)
        else:
            where = f"{counted(len(fields), 'field')} where the heading has {len(heading.names)}"
            yield _Fault(number, f"{where}; quote a caption that holds {_DELIMITERS[heading.delimiter]}")


def _heading(line: bytes) -> _Heading | None:
    """First line of a file -> the heading of a table with captions; None if it is none."""
    try:
        text = line.decode().strip()
        for delimiter in _DELIMITERS:
            names = [column.strip().lower() for column in next(csv.reader([text], delimiter=delimiter))]
            image = next((names.index(name) for name in _IMAGE_COLUMNS if name in names), None)
            caption = next((names.index(name) for name in _CAPTION_COLUMNS if name in names), None)
            if image is not None and caption is not None:
                return _Heading(delimiter, names, image, caption)
    except (UnicodeDecodeError, csv.Error, StopIteration):
        pass
    return None


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
