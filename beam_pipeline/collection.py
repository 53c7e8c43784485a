"""The inputs of a job: what `--images` means, and which files a collection holds."""

from __future__ import annotations

import glob
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_pipeline import storage
from beam_pipeline.images import IMAGE_SUFFIXES
from training.errors import UserError

FOLDER, PATTERN, LIST = "folder", "pattern", "list"
UNKNOWN = -1  # size or modification time of a file that could not be asked


@dataclass(frozen=True)
class Source:
    """What `--images` names: a folder to walk, a glob pattern, or a text file of paths and URLs."""

    kind: str
    path: str


@dataclass(frozen=True)
class InputFile:
    """One listed input.

    Attributes:
      uri: absolute path or URL.
      size, mtime: bytes and seconds since 1970; UNKNOWN where the file could not be asked.
      problem: why it could not be asked, else "".
    """

    uri: str
    size: int
    mtime: float
    problem: str = ""


def resolve_source(images: str) -> Source:
    """The value of `--images` -> Source. A path that exists is taken literally before it is read as a pattern.

    Raises:
      UserError: it names nothing, or nothing that could be a picture.
    """
    source = _resolve(images)
    listing = Listing(source)
    if next(iter(listing), None) is None:
        others = sum(listing.ignored.values())
        raise UserError(f"--images {images}: no image in there" + (f", only {others} other files" if others else ""))
    return source


def _resolve(images: str) -> Source:
    if storage.is_local(images):
        path = os.path.abspath(images)
        if os.path.isdir(path):
            return Source(FOLDER, path)
        if os.path.isfile(path):
            return Source(
                LIST if path.endswith(".txt") else PATTERN, path if path.endswith(".txt") else glob.escape(path)
            )
        if not glob.has_magic(images):
            raise UserError(
                f"--images {images}: no such file or folder; give a folder, a quoted glob pattern or a LIST.txt"
            )
        if next(_matches(path), None) is None:
            raise UserError(f"--images {images}: no file matches this pattern; check it, and quote it for the shell")
        return Source(PATTERN, path)
    try:
        if images.endswith(".txt") and FileSystems.exists(images):
            return Source(LIST, images)
        kind = PATTERN if any(magic in images for magic in "*?[") else FOLDER
        pattern = images if kind == PATTERN else images.rstrip("/") + "/**"
        FileSystems.match([pattern], limits=[1])
    except (BeamIOError, ValueError, ImportError) as error:
        raise UserError(
            f"--images {images}: cannot be listed ({error}); check the address and the credentials"
        ) from error
    return Source(kind, pattern)


@dataclass
class Listing:
    """Walks a source; after a pass, `ignored` counts the files that are not inputs, by kind."""

    source: Source

    def __post_init__(self):
        self.ignored: Counter[str] = Counter()

    def __iter__(self) -> Iterator[InputFile]:
        self.ignored.clear()
        if self.source.kind == LIST:
            yield from self._from_list()
        elif not storage.is_local(self.source.path):
            yield from self._remote()
        else:
            paths = walk(self.source.path) if self.source.kind == FOLDER else _matches(self.source.path)
            for path in paths:
                if isinstance(path, InputFile):
                    yield path
                elif self._is_input(path, guess=self.source.kind == FOLDER):
                    yield ask_file(path)

    def _is_input(self, path: str, guess: bool) -> bool:
        why = not_an_input(path, guess)
        if why:
            self.ignored[why] += 1
        return not why

    def _from_list(self) -> Iterator[InputFile]:
        folder = os.path.dirname(self.source.path)
        with storage.open_file(self.source.path) as file:
            for number, raw in enumerate(file):
                line = os.fsdecode(raw).rstrip("\r\n")
                if number == 0:
                    line = line.removeprefix("\ufeff")
                if line.strip():
                    # Relative entries are relative to the list, so that a list and its pictures can move together.
                    entry = parse_list_entry(line)
                    yield ask_file(os.path.join(folder, entry) if storage.is_local(entry) else entry)

    def _remote(self) -> Iterator[InputFile]:
        (matched,) = FileSystems.match([self.source.path])
        for found in matched.metadata_list:
            if self._is_input(found.path, guess=self.source.kind == FOLDER):
                yield InputFile(found.path, found.size_in_bytes, found.last_updated_in_seconds)


def walk(folder: str) -> Iterator[str | InputFile]:
    """Files below a folder in sorted order, links followed once; a folder that cannot be read comes as a problem."""
    yield from _walk(folder, ancestors=frozenset())


def _walk(folder: str, ancestors: frozenset[str]) -> Iterator[str | InputFile]:
    real = os.path.realpath(folder)
    if real in ancestors:  # a link to a folder above
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield InputFile(folder, UNKNOWN, UNKNOWN, f"folder cannot be listed: {error.strerror}")
        return
    for entry in found:
        if entry.is_dir():
            yield from _walk(entry.path, ancestors | {real})
        else:
            yield entry.path


def _matches(pattern: str) -> Iterator[str]:
    return (path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path))


def not_an_input(path: str, guess: bool) -> str:
    """Why a file met on the way is no input: "shadow" or "other" (no image by its name); "" for an input.

    Args:
      path: the file.
      guess: whether a name that is not an image's rules it out: in a folder yes, where the user chose the files no.
    """
    name = os.path.basename(path)
    # macOS leaves ._NAME beside NAME on foreign disks; they hold no picture whatever they end in.
    if name.startswith("._") or "__MACOSX" in path.split("/") or name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        return "shadow"
    if name.startswith(storage.TEMPORARY_PREFIX):
        return "shadow"
    suffix = os.path.splitext(name)[1].lower()
    # A name without a suffix may well be a picture (content-addressed stores); its bytes will tell.
    return "other" if guess and suffix and suffix not in IMAGE_SUFFIXES else ""


def ask_file(uri: str) -> InputFile:
    """Path or URL -> InputFile with its size and time, or with the reason why they cannot be had."""
    try:
        if storage.is_local(uri):
            status = os.stat(uri)
            if os.path.isdir(uri):
                return InputFile(uri, UNKNOWN, UNKNOWN, "a folder, not a file")
            return InputFile(uri, status.st_size, status.st_mtime)
        (matched,) = FileSystems.match([uri])
        if not matched.metadata_list:
            return InputFile(uri, UNKNOWN, UNKNOWN, "no such file")
        found = matched.metadata_list[0]
        return InputFile(uri, found.size_in_bytes, found.last_updated_in_seconds)
    except OSError as error:
        return InputFile(uri, UNKNOWN, UNKNOWN, (error.strerror or str(error)).lower())
    except (BeamIOError, ValueError) as error:
        return InputFile(uri, UNKNOWN, UNKNOWN, str(error))


def parse_list_entry(line: str) -> str:
    """Line of a LIST.txt -> path or URL; the inverse of `format_list_entry`."""
    if line.startswith('"'):
        try:
            entry = json.loads(line)
        except ValueError:
            return line
        if isinstance(entry, str):
            return entry
    return line


def format_list_entry(uri: str) -> str:
    """Path or URL -> line of a LIST.txt; what a plain line cannot hold is written as a JSON string."""
    plain = uri.strip() == uri and uri.splitlines() == [uri] and not uri.startswith('"') and uri.isprintable()
    return uri if plain else json.dumps(uri)
