"""Joins the captions of a finished directory with the files that show each picture.

The caption of a picture is in the picture's shard; the ledger line of another file that shows it may be in the shard of
a later run. SQLite joins them in a temporary file, so memory does not grow with the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.results.keywords import keywords_of
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import stem, uri_key, uri_of
from beam_pipeline.shards.ledger import DUPLICATE, OUTCOMES, REJECTED, read_ledger
from beam_pipeline.words.summary import sound_shards
from training.errors import JobFailed
from training.models.flags import LOW
from training.scratch import scratch_directory
from training.text.plurals import counted

_CACHE_KIB = 64 << 10

_SCHEMA = """
CREATE TABLE picture (sha256 TEXT PRIMARY KEY, caption TEXT, score REAL, confidence REAL, withheld INTEGER, flags TEXT,
 keywords TEXT) WITHOUT ROWID;
CREATE TABLE file (uri BLOB PRIMARY KEY, stem BLOB, sha256 TEXT, outcome TEXT) WITHOUT ROWID;
"""
_INDEXES = """
CREATE INDEX file_by_picture ON file (sha256, uri);
CREATE INDEX file_by_stem ON file (stem);
"""
_CAPTIONED = (
    "SELECT uri, sha256, caption, score, confidence, withheld, flags, keywords, outcome "
    "FROM file JOIN picture USING (sha256)"
)


@dataclass(frozen=True)
class CaptionedFile:
    """A file of a captioned collection, with the caption of its picture.

    Attributes:
      uri: absolute path, URL, or CONTAINER!/NAME.
      sha256: hex digest of its bytes.
      caption: the best caption.
      score: mean log-probability of its words, in nats.
      flags: of the caption, see `training.models.flags`.
      keywords: words that a person would probably use for the picture, the likeliest first.
      duplicate: whether the caption was made from another file with the same bytes.
      confidence: probability that a person would accept the caption, 0 to 1, or None.
      withheld: whether the confidence is too low to give the caption to other programs.
    """

    uri: str
    sha256: str
    caption: str
    score: float
    flags: tuple[str, ...]
    keywords: tuple[str, ...]
    duplicate: bool
    confidence: float | None = None
    withheld: bool = False


class CaptionIndex:
    """Captions of a directory, by file and by picture; a context manager, since it holds a temporary file.

    Args:
      directory: captions directory, read when the index is made.
      least_presence: presence from which a word is a keyword, see `keywords_of`.
      min_confidence: captions below it are withheld; None withholds those that `caption --min-confidence` flagged.

    Raises:
      JobFailed: a captioned file has no caption, or there is no room for the temporary file.
    """

    def __init__(self, directory: str, least_presence: float, min_confidence: float | None = None):
        self._folder = contextlib.ExitStack()
        try:
            with room_to_sort():
                self._database = self._load(directory, least_presence, min_confidence)
        except BaseException:
            self._folder.close()
            raise

    def __enter__(self) -> CaptionIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.close()

    def _load(self, directory: str, least_presence: float, min_confidence: float | None) -> sqlite3.Connection:
        database = sqlite3.connect(os.path.join(self._folder.enter_context(scratch_directory()), "captions.sqlite"))
        # The database does not outlive this process, so it need not survive a crash.
        database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{_CACHE_KIB};")
        database.executescript(_SCHEMA)
        # In the order of the runs, so the newest line of a file counts.
        for shard in sound_shards(directory):
            database.executemany(
                "INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?, ?, ?, ?)",
                (_picture_row(picture, least_presence, min_confidence) for picture in read_captions(shard, directory)),
            )
            ledger = read_ledger(storage.join(directory, shard.ledger()))
            database.executemany(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)",
                ((uri_key(line.uri), uri_key(stem(line.uri)), line.sha256, line.outcome) for line in ledger),
            )
        database.executescript(_INDEXES)
        (missing,) = database.execute(
            "SELECT COUNT(*) FROM file LEFT JOIN picture USING (sha256) WHERE outcome <> ? AND caption IS NULL",
            (REJECTED,),
        ).fetchone()
        if missing:
            raise JobFailed(
                f"{directory}: {counted(missing, 'captioned file')} without a caption; a captions-*.jsonl file was "
                "changed or removed"
            )
        return database

    def counts(self) -> dict[str, int]:
        """Returns each of `OUTCOMES` -> number of files."""
        files = dict(self._database.execute("SELECT outcome, COUNT(*) FROM file GROUP BY outcome"))
        return {outcome: files.get(outcome, 0) for outcome in OUTCOMES}

    def withheld(self) -> int:
        """Returns the number of files whose caption is withheld."""
        count = "SELECT COUNT(*) FROM file JOIN picture USING (sha256) WHERE withheld AND outcome <> ?"
        (files,) = self._database.execute(count, (REJECTED,)).fetchone()
        return files

    def files(self) -> Iterator[CaptionedFile]:
        """Yields every file of a captioned picture, sorted by address."""
        return self._captioned(f"{_CAPTIONED} WHERE outcome <> ? ORDER BY uri", (REJECTED,))

    def pictures(self) -> Iterator[tuple[CaptionedFile, ...]]:
        """Yields the files of every distinct picture, sorted by address; pictures by that of their first file."""
        first = "SELECT sha256 FROM file WHERE outcome <> ? GROUP BY sha256 ORDER BY MIN(uri)"
        for (sha256,) in self._database.execute(first, (REJECTED,)):
            where = f"{_CAPTIONED} WHERE sha256 = ? AND outcome <> ? ORDER BY uri"
            yield tuple(self._captioned(where, (sha256, REJECTED)))

    def _captioned(self, query: str, values: Iterable[str]) -> Iterator[CaptionedFile]:
        for row in self._database.execute(query, tuple(values)):
            uri, sha256, caption, score, confidence, withheld, flags, keywords, outcome = row
            listed = tuple(json.loads(flags)), tuple(json.loads(keywords))
            duplicate = outcome == DUPLICATE
            yield CaptionedFile(uri_of(uri), sha256, caption, score, *listed, duplicate, confidence, bool(withheld))

    def holds(self, uri: str) -> bool:
        """Whether the collection has a file with this address; rejected ones count too."""
        return self._database.execute("SELECT 1 FROM file WHERE uri = ?", (uri_key(uri),)).fetchone() is not None

    def shares_stem(self, uri: str) -> bool:
        """Whether another file of a captioned picture has the same address but for its ending."""
        count = "SELECT COUNT(*) FROM file WHERE stem = ? AND outcome <> ?"
        (files,) = self._database.execute(count, (uri_key(stem(uri)), REJECTED)).fetchone()
        return files > 1

    def common_folder(self) -> str:
        """Returns the deepest folder that has all files of captioned pictures, with its slash, or ""."""
        ends = "SELECT MIN(uri), MAX(uri) FROM file WHERE outcome <> ?"
        first, last = self._database.execute(ends, (REJECTED,)).fetchone()
        if first is None:
            return ""
        # A common prefix of the first and the last of sorted addresses is a prefix of all.
        shared = os.path.commonprefix([first, last])  # noqa: RUF071 (addresses, cut at a / below)
        return uri_of(shared[: shared.rfind(b"/") + 1])


def _picture_row(picture: CaptionedPicture, least_presence: float, min_confidence: float | None) -> tuple[Any, ...]:
    confidence = picture.confidence
    if min_confidence is None:
        withheld = LOW in picture.flags
    else:
        withheld = confidence is not None and confidence < min_confidence
    lists = json.dumps(picture.flags), json.dumps(keywords_of(picture, least_presence))
    return picture.sha256, picture.caption, picture.score, confidence, withheld, *lists


@contextlib.contextmanager
def room_to_sort() -> Iterator[None]:
    """Within it a temporary database is used; raises JobFailed if there is no room for it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise JobFailed(
            f"{tempfile.gettempdir()}: no room to sort the captions ({error}); set TMPDIR to another folder"
        ) from error
