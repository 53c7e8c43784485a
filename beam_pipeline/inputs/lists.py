"""Lists of pictures: LIST.txt with an address a line, LIST.csv or LIST.tsv with a column of them and their captions."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.inputs.input_file import UNKNOWN, InputFile, clean_captions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key, uri_of
from training.errors import UserError
from training.text.lines import MAX_LINE_BYTES, TOO_LONG, csv_rows, numbered_lines

LIST_SUFFIXES = (".txt", ".csv", ".tsv")
COMMENT = "comment"  # kind of a line that is no entry
_COMMENT = "#"
# Columns of a table, the first that is there.
_ADDRESS_COLUMNS = ("uri", "url", "path", "file_name", "image")
_CAPTION_COLUMNS = ("caption", "text")
_DELIMITERS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}  # spreadsheets write ; where the comma is in numbers


@dataclass(frozen=True)
class Entry:
    """What a list names.

    Attributes:
      uri: absolute path or URL.
      captions: those that the list gives.
    """

    uri: str
    captions: tuple[str, ...] = ()


def is_list(path: str) -> bool:
    """Whether a path names a list, by its ending; nothing is opened."""
    return path.lower().endswith(LIST_SUFFIXES)


def read_list(path: str, ignored: Counter[str]) -> Iterator[Entry | InputFile]:
    """Path of a list -> its entries; a line that is none comes as an input LIST:LINE with the reason.

    Args:
      ignored: counts the comments; added to.

    Raises:
      UserError: it is a table without addresses.
      OSError: it cannot be read.
    """
    suffix = os.path.splitext(path)[1].lower()
    read = _read_table(path, _DELIMITERS[suffix]) if suffix in _DELIMITERS else _read_lines(path, ignored)
    for number, entry in read:
        if isinstance(entry, str):
            yield InputFile(f"{path}:{number}", UNKNOWN, UNKNOWN, entry)
        elif is_list(entry.uri):
            yield InputFile(entry.uri, UNKNOWN, UNKNOWN, "a list within a list; give it to --images too")
        else:
            yield entry


def _read_lines(path: str, ignored: Counter[str]) -> Iterator[tuple[int, Entry | str]]:
    with storage.open_file(path) as file:
        for number, raw in numbered_lines(file):
            line = _decoded(raw)
            if len(raw) > MAX_LINE_BYTES:
                yield number, TOO_LONG
            elif "\0" in line:
                yield number, "a NUL byte in the line; save the list as UTF-8"
            elif line.startswith(_COMMENT) and not os.path.lexists(_relative_to(path, line)):
                ignored[COMMENT] += 1
            elif line.strip():
                yield number, Entry(_address(path, line))


def _address(path: str, line: str) -> str:
    """Line of a list -> path or URL; blanks around it belong to it only where they belong to the name of a file."""
    uri = _relative_to(path, parse_list_entry(line))
    bare = line.strip()
    return uri if bare == line or os.path.lexists(uri) else _relative_to(path, parse_list_entry(bare))


def _read_table(path: str, delimiters: Iterable[str]) -> Iterator[tuple[int, Entry | str]]:
    with storage.open_file(path) as file:
        lines = numbered_lines(file)
        header = next((_decoded(raw) for _, raw in lines if raw.strip()), "")
        delimiter, names, column = _columns(path, header, delimiters)
        captions = [names.index(name) for name in _CAPTION_COLUMNS if name in names]
        for number, fields in csv_rows(lines, delimiter, errors="surrogateescape"):
            if isinstance(fields, str):
                yield number, fields
            elif len(fields) > len(names):
                yield number, f"{len(fields)} fields where the header has {len(names)}; quote what holds {delimiter!r}"
            elif "\0" in "".join(fields):
                yield number, "a NUL byte in the row; save the list as UTF-8"
            elif len(fields) > column and (address := fields[column].strip()):
                texts = [text for place in captions if place < len(fields) for text in clean_captions(fields[place])]
                yield number, Entry(_relative_to(path, address), tuple(texts))
            elif any(field.strip() for field in fields):
                yield number, f"no address in the column {names[column]}"


def _columns(path: str, header: str, delimiters: Iterable[str]) -> tuple[str, list[str], int]:
    """First line of a table -> (what stands between its fields, names of the columns, position of the addresses)."""
    for delimiter in delimiters:
        (_, fields), *_ = [*csv_rows(iter([(1, header.encode(errors="surrogateescape"))]), delimiter), (1, "")]
        names = [field.strip().lower() for field in fields] if isinstance(fields, list) else []
        for name in _ADDRESS_COLUMNS:
            if name in names:
                return delimiter, names, names.index(name)
    raise UserError(
        f"--images {path}: no column {', '.join(_ADDRESS_COLUMNS)} in its first line; name the one with the "
        "pictures so, or give the table as --captions and the pictures as --images"
    )


def _decoded(line: bytes) -> str:
    return line.decode(errors="surrogateescape")  # a name need not be UTF-8


def _relative_to(path: str, entry: str) -> str:
    """Relative entries are relative to the list, so that a list and its pictures can move together."""
    return os.path.join(os.path.dirname(path), entry) if storage.is_local(entry) else entry


def parse_list_entry(line: str) -> str:
    """Line of a LIST.txt -> path or URL: a JSON string is decoded, any other line is taken as it is."""
    if line.startswith('"'):
        try:
            entry = json.loads(line)
        except ValueError:
            return line
        if isinstance(entry, str):
            return entry
    return line


def format_list_entry(uri: str) -> str:
    """Path or URL -> line of a LIST.txt, as a JSON string if a plain line cannot hold it."""
    plain = (
        uri.strip() == uri and uri.splitlines() == [uri] and not uri.startswith(('"', _COMMENT)) and uri.isprintable()
    )
    return uri if plain else json.dumps(uri)


class ByContainer:
    """Entries of a list that are members of containers, kept on disk until the list has been read to its end.

    A list may name the members of its containers in any order, and may be longer than memory. So each container is
    listed once, for all its members that the list names.
    """

    def __init__(self) -> None:
        # A database without a name is a temporary file, and in memory as long as it is small.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("CREATE TABLE entries (container BLOB, entry TEXT)")
        self._database.execute("BEGIN")

    def __enter__(self) -> ByContainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, container: str, entry: Entry) -> None:
        """Takes an entry that is a member of a container."""
        row = uri_key(container), json.dumps([entry.uri, entry.captions])
        self._database.execute("INSERT INTO entries VALUES (?, ?)", row)

    def __iter__(self) -> Iterator[tuple[str, list[Entry]]]:
        """Gives each container, and its entries in the order of the list."""
        rows = self._database.execute("SELECT container, entry FROM entries ORDER BY container, rowid")
        for container, of_container in itertools.groupby(rows, key=lambda row: row[0]):
            entries = (json.loads(text) for _, text in of_container)
            yield uri_of(container), [Entry(uri, tuple(captions)) for uri, captions in entries]
