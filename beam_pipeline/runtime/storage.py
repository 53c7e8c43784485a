"""Files on any Beam file system: whole reads, and writes that appear complete or not at all.

A local path needs no Beam: what is done at remote addresses is `remote_storage`, imported when one comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from beam_pipeline.runtime.extras import require
from training import documents, files
from training.errors import JobFailed
from training.files import TEMPORARY_PREFIX, is_local
from training.scratch import scratch_directory

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

T = TypeVar("T")

_BLOCK = 1 << 20  # bytes


def _remote(path: str) -> ModuleType:
    """Loads what works at this address; raises UserError if a library for it is not installed."""
    if path.startswith("s3://"):
        require("boto3", "s3", path)
    from beam_pipeline.runtime import remote_storage

    return remote_storage


def use_options(options: PipelineOptions) -> None:
    """Gives Beam's file systems the options that they read (`--s3_endpoint_url` and the like).

    A pipeline does so too, but files are looked at before there is one.
    """
    from beam_pipeline.runtime import remote_storage

    remote_storage.use_options(options)


def absolute(path: str) -> str:
    """A local path made absolute; a remote one as it is."""
    return os.path.abspath(path) if is_local(path) else path


def join(directory: str, name: str) -> str:
    """Directory and a name in it -> path of the file, local or remote."""
    return os.path.join(directory, name) if is_local(directory) else _remote(directory).join(directory, name)


def exists(path: str) -> bool:
    """Whether there is a file, or a local directory, at `path`."""
    return os.path.exists(path) if is_local(path) else _remote(path).exists(path)


def is_file(path: str) -> bool:
    """Whether there is a file at `path`."""
    return os.path.isfile(path) if is_local(path) else _remote(path).exists(path)


def find_remote(pattern: str, limit: int | None = None) -> list[tuple[str, int, float]]:
    """Remote pattern -> (address, size in bytes, time of the last write in seconds since 1970) of what matches.

    Args:
      limit: how many files to look for; None for all.

    Raises:
      OSError: the file system gives no answer.
      ValueError: there is no file system for the scheme.
      ImportError: the file system needs a library that is not installed.
    """
    return _remote(pattern).find_files(pattern, limit)


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading bytes, as they are.

    Raises:
      OSError: it cannot be opened, or is a pipe or a device, which might never end.
    """
    return files.open_regular(path) if is_local(path) else _remote(path).open_file(path)


def read_bytes(path: str) -> bytes:
    """Path -> the whole file; raises OSError if it cannot be read."""
    with open_file(path) as file:
        return file.read()


def open_own(path: str) -> BinaryIO:
    """Opens a file of a directory that captionbeam made, for reading bytes; a link is not followed.

    Raises:
      UserError: it is a link, a folder or a device.
      OSError: it cannot be opened.
    """
    return files.open_own(path) if is_local(path) else open_file(path)


def read_own(path: str) -> bytes:
    """Path of a file of a directory that captionbeam made -> the whole file; raises as `open_own` does."""
    with open_own(path) as file:
        return file.read()


def own_size(path: str) -> int:
    """Path of a file of a directory that captionbeam made -> its size in bytes.

    Raises:
      UserError: it is a link, a folder or a device.
      OSError: there is none.
    """
    if is_local(path):
        return files.require_own(path)
    directory, _, name = path.rpartition("/")
    sizes = list_directory(directory)
    if name not in sizes:
        raise FileNotFoundError(path)
    return sizes[name]


def read_own_if_there(path: str) -> bytes | None:
    """Like `read_own`; None if there is no file."""
    if not is_local(path) and not exists(path):
        return None
    try:
        return read_own(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_document(path: str, kind: type[T], mend: str, version: int | None = None) -> T | None:
    """Path of a JSON document -> what it holds, as `documents.parse_document` reads it; None if there is no file.

    Raises:
      UserError: it is damaged, of another schema version, or no file.
      OSError: it cannot be read.
    """
    data = read_own_if_there(path)
    return None if data is None else documents.parse_document(data, kind, path, mend, version)


def write_document(path: str, content: Mapping[str, Any]) -> None:
    """Replaces the file at `path` by a JSON document with its checksum, in one step; `read_document` reads it."""
    write_atomic(path, documents.to_document(content))


def sha256(path: str) -> str:
    """Hex digest of a file's content, read block by block."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def make_directory(path: str) -> None:
    """Makes a directory that can be written, with its parents.

    Raises:
      JobFailed: it cannot be made or written.
    """
    if not is_local(path):
        return  # object stores have no directories
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, prefix=TEMPORARY_PREFIX):
            pass
    except OSError as error:
        raise JobFailed(f"--output {path}: cannot be written ({error.strerror}); choose another directory") from error


def list_directory(path: str) -> dict[str, int]:
    """Directory -> {file name: size in bytes}, sub-directories left out; empty if there is no such directory."""
    if not is_local(path):
        return _remote(path).list_directory(path)
    if not os.path.isdir(path):
        return {}
    with os.scandir(path) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def last_written(path: str) -> float | None:
    """When the newest file of a directory was written, seconds since 1970; None if it holds none, or nobody knows.

    Empty files do not count, nor do directories: the lock is one that says nothing of work.
    """
    if not is_local(path):
        return _remote(path).last_written(path)
    with os.scandir(path) as entries:
        return max(
            (entry.stat().st_mtime for entry in entries if entry.is_file() and entry.stat().st_size), default=None
        )


def writing(path: str) -> AbstractContextManager[None]:
    """`training.files.writing` for what the pipelines write."""
    return files.writing(path, "what is finished is kept")


def write_atomic(path: str, data: bytes) -> None:
    """Writes a whole file under a temporary name and renames it, so that no reader ever sees half of it."""
    with new_file(path) as local, open(local, "wb") as file:
        file.write(data)


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """Gives a local name to write to; on leaving without an exception the file appears at `path`, whole.

    Raises:
      JobFailed: there is no room for it.
    """
    with writing(path):
        if is_local(path):
            with files.new_file(path) as temporary:
                yield temporary
            return
        with temporary_directory(beside=path) as directory:
            temporary = os.path.join(directory, os.path.basename(path))
            yield temporary
            _remote(path).upload(temporary, path)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Gives a local path with the content of `path`, and the same ending of the name."""
    if is_local(path):
        yield path
        return
    with temporary_directory(beside=path) as directory:
        local = os.path.join(directory, os.path.basename(path))
        with open_file(path) as reader, open(local, "wb") as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
        yield local


def remove(path: str) -> None:
    """Removes a file if it exists."""
    if not is_local(path):
        _remote(path).remove(path)
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)


@contextlib.contextmanager
def temporary_directory(beside: str) -> Iterator[str]:
    """Gives a local directory that is gone afterwards; it lies in the directory `beside` if that is local.

    Raises:
      JobFailed: there is no room for it.
    """
    if not is_local(beside):
        with scratch_directory() as path:
            yield path
        return
    path = os.path.join(beside, files.temporary_name())
    with writing(beside):
        os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
