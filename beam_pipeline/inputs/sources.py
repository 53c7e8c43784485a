"""The inputs of a job: what `--images` means, and which files a collection holds."""

from __future__ import annotations

import csv
import glob
import io
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from beam_pipeline.inputs.containers import list_container
from beam_pipeline.inputs.input_file import (
    UNKNOWN,
    InputFile,
    clean_captions,
    ignored_kind,
    is_container,
    split_member_uri,
)
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from beam_pipeline.runtime.text import reason
from training.errors import UserError
from training.files import not_a_file

FOLDER, PATTERN, LIST = "folder", "pattern", "list"
_LIST_SUFFIXES = (".txt", ".csv", ".tsv")
# Columns of a CSV list, the first that is there.
_ADDRESS_COLUMNS = ("uri", "url", "path", "file_name", "image")
_CAPTION_COLUMNS = ("caption", "text")


@dataclass(frozen=True)
class Source:
    """What `--images` names: a folder to walk, a pattern of pictures and containers, or a list of paths and URLs.

    Attributes:
      kind: FOLDER, PATTERN or LIST.
      path: path or URL of the folder or list, or the pattern.
      remote_lists: whether a list may name addresses on file systems other than its own. Otherwise whoever wrote the
        list could have requests sent with the user's credentials.
    """

    kind: str
    path: str
    remote_lists: bool = False

    @property
    def may_hold_captions(self) -> bool:
        """Whether pictures may come with captions of their own, from an archive or a table."""
        plain = os.path.splitext(self.path)[1].lower() in (*IMAGE_SUFFIXES, ".txt")
        return self.kind != FOLDER and not plain


def resolve_source(images: str, remote_lists: bool = False) -> Source:
    """Value of `--images` -> Source; a path that exists is taken literally before it is read as a pattern.

    Args:
      remote_lists: whether a list may name addresses on file systems other than its own.

    Raises:
      UserError: it names nothing, or nothing that could be a picture.
    """
    source = replace(_resolve(images), remote_lists=remote_lists)
    listing = Listing(source)
    first = list(itertools.islice(listing, 2))
    if not first:
        raise UserError(f"--images {images}: no image in there{_ignored_in_words(listing.ignored, source)}")
    if len(first) == 1 and first[0].problem and is_container(first[0].uri):
        raise UserError(f"--images {images}: {first[0].problem}")
    return source


def _ignored_in_words(ignored: Counter[str], source: Source) -> str:
    containers = ignored["container"]
    if containers and source.kind == FOLDER:
        archives = "1 archive" if containers == 1 else f"{containers} archives"
        return f", only {archives}; name them to have them read, as in --images '{source.path}/*.tar'"
    others = sum(ignored.values())
    if not others:
        return ""
    return ", only 1 other file" if others == 1 else f", only {others} other files"


def _resolve(images: str) -> Source:
    if storage.is_local(images):
        path = os.path.abspath(images)
        if os.path.isdir(path):
            return Source(FOLDER, path)
        if os.path.isfile(path):
            return Source(LIST, path) if path.endswith(_LIST_SUFFIXES) else Source(PATTERN, glob.escape(path))
        if not glob.has_magic(images):
            raise UserError(
                f"--images {images}: no such file or folder; give a folder, a quoted pattern, an archive or a list"
            )
        if not any(_matches(path)):
            raise UserError(f"--images {images}: no file matches this pattern; check it, and quote it for the shell")
        return Source(PATTERN, path)
    try:
        if images.endswith(_LIST_SUFFIXES) and storage.exists(images):
            return Source(LIST, images)
        kind = PATTERN if any(magic in images for magic in "*?[") or is_container(images) else FOLDER
        pattern = images if kind == PATTERN else images.rstrip("/") + "/**"
        storage.find_remote(pattern, limit=1)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"--images {images}: cannot be listed ({error}); check the address and the credentials"
        ) from error
    return Source(kind, pattern)


@dataclass
class Listing:
    """The inputs of a source, members of containers included; every pass lists them anew.

    Attributes:
      source: what to list.
      ignored: files and members that are no inputs, counted by kind in the latest pass; see `ignored_kind`.
    """

    source: Source
    ignored: Counter[str] = field(default_factory=Counter, init=False)

    def __iter__(self) -> Iterator[InputFile]:
        self.ignored.clear()
        if self.source.kind == LIST:
            yield from self._from_list()
            return
        files = _local(self.source) if storage.is_local(self.source.path) else _remote(self.source)
        for file in files:
            path = file if isinstance(file, str) else file.uri
            if isinstance(file, InputFile) and file.problem:
                yield file
            elif kind := ignored_kind(path, by_suffix=self.source.kind == FOLDER):
                self.ignored[kind] += 1
            else:
                yield from self._expand(stat_file(file) if isinstance(file, str) else file)

    def _expand(self, file: InputFile) -> Iterator[InputFile]:
        """A file -> itself, or the members of a container."""
        return list_container(file, self.ignored) if is_container(file.uri) else iter((file,))

    def _from_list(self) -> Iterator[InputFile]:
        read = _csv_entries if self.source.path.endswith((".csv", ".tsv")) else _text_entries
        # Members of one container stand together in lists that captionbeam writes: it is listed once for all of them.
        for container, entries in itertools.groupby(read(self.source.path), key=_container_of):
            if container and self._is_allowed(container):
                yield from self._some_members(container, dict(entries))
            else:
                for uri, captions in entries:
                    if not self._is_allowed(uri):
                        yield InputFile(uri, UNKNOWN, UNKNOWN, "a remote address in a list; --remote-lists allows them")
                        continue
                    for file in self._expand(stat_file(uri)):
                        yield replace(file, captions=file.captions + captions) if captions else file

    def _is_allowed(self, uri: str) -> bool:
        """Whether a list may name an address: a local path, or one on its own file system, or any if asked for."""
        return self.source.remote_lists or storage.is_local(uri) or _scheme(uri) == _scheme(self.source.path)

    def _some_members(self, container: str, wanted: dict[str, tuple[str, ...]]) -> Iterator[InputFile]:
        problem = "no such member in the archive"
        for file in list_container(stat_file(container), Counter()):
            if file.uri in wanted:
                yield replace(file, captions=file.captions + wanted.pop(file.uri))
            elif file.problem and not file.member:
                problem = file.problem  # the archive's own: what is missing may have stood behind that place
        for uri in wanted:
            yield InputFile(uri, UNKNOWN, UNKNOWN, problem)


def _scheme(path: str) -> str | None:
    return None if storage.is_local(path) else path.partition("://")[0]


def _container_of(entry: tuple[str, tuple[str, ...]]) -> str:
    member = split_member_uri(entry[0])
    return member[0] if member else ""


def _local(source: Source) -> Iterator[str | InputFile]:
    return _walk(source.path) if source.kind == FOLDER else _matches(source.path)


def _remote(source: Source) -> Iterator[InputFile]:
    for address, size, mtime in storage.find_remote(source.path):
        yield InputFile(address, size, mtime)


def _text_entries(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """LIST.txt -> (address, no captions) of each line that is not blank."""
    with storage.open_file(path) as file:
        for number, raw in enumerate(file):
            line = os.fsdecode(raw).rstrip("\r\n")
            if number == 0:
                line = line.removeprefix("\ufeff")
            if line.strip():
                yield _relative_to(path, parse_list_entry(line)), ()


def _csv_entries(path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """LIST.csv or LIST.tsv with a header -> (address, captions) of each row.

    Raises:
      UserError: it is no such table.
    """
    delimiter = "\t" if path.endswith(".tsv") else ","
    with storage.open_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.DictReader(text, delimiter=delimiter)
        names = rows.fieldnames or ()
        column = next((name for name in _ADDRESS_COLUMNS if name in names), None)
        if column is None:
            raise UserError(
                f"--images {path}: no column {', '.join(_ADDRESS_COLUMNS)} in its first line; name the one with the "
                "pictures so, or give the table as --captions and the pictures as --images"
            )
        try:
            for row in rows:
                if address := (row[column] or "").strip():
                    captions = [text for name in _CAPTION_COLUMNS for text in clean_captions(row.get(name))]
                    yield _relative_to(path, address), tuple(captions)
        except csv.Error as error:
            raise UserError(f"--images {path}:{rows.line_num}: {error}; mend this line") from error


def _relative_to(path: str, entry: str) -> str:
    """Relative entries are relative to the list, so that a list and its pictures can move together."""
    return os.path.join(os.path.dirname(path), entry) if storage.is_local(entry) else entry


def _walk(folder: str, ancestors: frozenset[str] = frozenset()) -> Iterator[str | InputFile]:
    """Files below a folder in sorted order, links followed once; a folder that cannot be read comes as a problem."""
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
        if _is_folder(entry):
            yield from _walk(entry.path, ancestors | {real})
        else:
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle; asking for the file will tell
        return False


def _matches(pattern: str) -> Iterator[str]:
    return (path for path in glob.iglob(pattern, recursive=True) if not os.path.isdir(path))


def stat_file(uri: str) -> InputFile:
    """Path or URL of a file -> InputFile with its size and time, or with the reason why it cannot be read."""
    try:
        if storage.is_local(uri):
            status = os.stat(uri)
            if problem := not_a_file(status.st_mode):
                return InputFile(uri, UNKNOWN, UNKNOWN, problem)
            return InputFile(uri, status.st_size, status.st_mtime)
        found = storage.find_remote(uri)
        if not found:
            return InputFile(uri, UNKNOWN, UNKNOWN, "no such file")
        _, size, mtime = found[0]
        return InputFile(uri, size, mtime)
    except OSError as error:
        return InputFile(uri, UNKNOWN, UNKNOWN, reason(error))
    except ValueError as error:  # ValueError: a NUL in the name, or a scheme that nobody knows
        return InputFile(uri, UNKNOWN, UNKNOWN, str(error))


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
    plain = uri.strip() == uri and uri.splitlines() == [uri] and not uri.startswith('"') and uri.isprintable()
    return uri if plain else json.dumps(uri)
