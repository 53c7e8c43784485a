"""What `export --format txt --in-place` wrote, noted in the captions directory, so that it can be taken back.

A text file has no place for a mark. `exported_texts.jsonl` has a line for each change, written before the change.
"""

from __future__ import annotations

import base64
import json
import logging
import mmap
import os
import sqlite3
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Literal, get_args

from msgspec import Meta

from beam_pipeline.results.caption_index import room_to_sort
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import reason, uri_key
from training.documents import parse_lines
from training.own_names import JOURNAL

log = logging.getLogger("captionbeam")

Kind = Literal["made", "extended", "replaced", "undone"]
MADE, EXTENDED, REPLACED, UNDONE = get_args(Kind)
Base64 = Annotated[str, Meta(pattern="^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
_MEND = "remove the file; --remove then leaves the texts as they are"


@dataclass(frozen=True)
class TextChange:
    """A change of a text file.

    Attributes:
      path: of the file.
      change: MADE, EXTENDED, REPLACED or UNDONE, which undoes all before.
      caption: that was written.
      added: bytes that were written, in base64.
      replaced: content of the file that they took the place of, in base64.
    """

    path: str
    change: Kind
    caption: str = ""
    added: Base64 = ""
    replaced: Base64 = ""


def text_change(path: str, caption: str, added: bytes, before: bytes | None, is_replaced: bool) -> TextChange:
    """A text file, what is written into it, and what it held, None for a new file -> the change."""
    change = MADE if before is None else REPLACED if is_replaced else EXTENDED
    replaced = before if before is not None and is_replaced else b""
    return TextChange(path, change, caption, base64.b64encode(added).decode(), base64.b64encode(replaced).decode())


class TextJournal:
    """The changes of text files that a captions directory notes.

    Args:
      directory: captions directory. One that cannot be written to costs a warning.
    """

    def __init__(self, directory: str):
        self._path = storage.join(storage.absolute(directory), JOURNAL)
        self._file: int | None = None

    def note(self, change: TextChange) -> None:
        """Notes a change that is about to be made."""
        if self._file is None:
            self._file = self._open()
        if self._file >= 0:
            os.write(self._file, (json.dumps(asdict(change)) + "\n").encode())
            os.fsync(self._file)

    def changes(self, path: str) -> list[TextChange]:
        """Path of a text file -> its changes that were not taken back, the newest first.

        Raises:
          UserError: the journal is damaged.
        """
        rows = self._noted.execute("SELECT change FROM noted WHERE path = ? ORDER BY number DESC", (uri_key(path),))
        return [TextChange(**json.loads(change)) for (change,) in rows]

    def _open(self) -> int:
        """Opens the journal for writing; -1 where that is not possible."""
        try:
            if not storage.is_local(self._path):
                raise OSError("a remote file cannot be added to")
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            _drop_cut_line(handle)
            return handle
        except OSError as error:
            log.warning("%s: cannot be written (%s); --remove will leave these texts", self._path, reason(error))
            return -1

    @cached_property
    def _noted(self) -> sqlite3.Connection:
        with room_to_sort():
            return self._read()

    def _read(self) -> sqlite3.Connection:
        database = sqlite3.connect("")  # a temporary file, so that memory does not grow with the texts
        database.execute("CREATE TABLE noted (path BLOB, number INTEGER PRIMARY KEY, change TEXT)")
        database.execute("CREATE INDEX noted_by_path ON noted (path)")
        if storage.exists(self._path):
            with storage.open_own(self._path) as file:
                whole = (line for line in file if line.endswith(b"\n"))
                for change in parse_lines(whole, TextChange, self._path, _MEND):
                    if change.change == UNDONE:
                        database.execute("DELETE FROM noted WHERE path = ?", (uri_key(change.path),))
                    else:
                        row = uri_key(change.path), json.dumps(asdict(change))
                        database.execute("INSERT INTO noted (path, change) VALUES (?, ?)", row)
        return database


def _drop_cut_line(handle: int) -> None:
    """Cuts off the rest of a line that a killed run did not finish; the change that it notes was not made."""
    size = os.fstat(handle).st_size
    if size:
        with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as content:
            whole = content.rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(handle, whole)
