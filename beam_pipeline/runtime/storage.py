"""Files on any Beam file system: whole reads, and writes that appear complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from training import files
from training.errors import JobFailed
from training.files import TEMPORARY_PREFIX, is_local

_BLOCK = 1 << 20

# A store that is asked too much refuses the same request several times in a row; boto3 gives up after three, and Beam
# asks some requests, such as the last of an upload, no second time.
os.environ.setdefault("AWS_MAX_ATTEMPTS", "10")


def use_options(options: PipelineOptions) -> None:
    """Gives Beam's file systems the options that they read (`--s3_endpoint_url` and the like).

    A pipeline does so too, but files are looked at before there is one.
    """
    FileSystems.set_options(options)


def absolute(path: str) -> str:
    """A local path made absolute; a remote one as it is."""
    return os.path.abspath(path) if is_local(path) else path


def join(directory: str, name: str) -> str:
    return os.path.join(directory, name) if is_local(directory) else FileSystems.join(directory, name)


def exists(path: str) -> bool:
    return os.path.exists(path) if is_local(path) else FileSystems.exists(path)


def is_file(path: str) -> bool:
    return os.path.isfile(path) if is_local(path) else FileSystems.exists(path)


def open_file(path: str):
    """Opens a file for reading bytes, as they are.

    Raises:
      OSError: it cannot be opened.
    """
    if is_local(path):
        return open(path, "rb")
    try:
        # A name ending in .gz would otherwise be unpacked.
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except BeamIOError as error:
        raise OSError(str(error)) from error


def read_bytes(path: str) -> bytes:
    with open_file(path) as file:
        return file.read()


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
    """Directory -> {file name: size in bytes}, sub-directories left out; empty where there is none."""
    if is_local(path):
        if not os.path.isdir(path):
            return {}
        with os.scandir(path) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    (matched,) = FileSystems.match([join(path, "*")])
    return {FileSystems.split(found.path)[1]: found.size_in_bytes for found in matched.metadata_list}


def last_written(path: str) -> float | None:
    """When the newest file of a directory was written, seconds since 1970; None where there is none, or nobody knows.

    What has no content says nothing of work: the lock, and directories.
    """
    if is_local(path):
        with os.scandir(path) as entries:
            times = [entry.stat().st_mtime for entry in entries if entry.is_file() and entry.stat().st_size]
    else:
        (matched,) = FileSystems.match([join(path, "*")])
        times = [found.last_updated_in_seconds for found in matched.metadata_list if found.size_in_bytes]
    return max(filter(None, times), default=None)


def writing(path: str):
    """`training.files.writing` for what the pipelines write."""
    return files.writing(path, "finished shards are kept")


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
            temporary = os.path.join(directory, FileSystems.split(path)[1])
            yield temporary
            _upload(temporary, path)


def _upload(source: str, path: str) -> None:
    if path.startswith("s3://") and not os.path.getsize(source):
        _upload_nothing_to_s3(path)
        return
    # An object store shows an object only when its upload has ended, so no rename is needed there.
    with (
        open(source, "rb") as reader,
        FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as writer,
    ):
        shutil.copyfileobj(reader, writer, _BLOCK)


def _upload_nothing_to_s3(path: str) -> None:
    """Beam uploads to S3 in parts, and S3 refuses an upload of no part: an empty file has to go by another call."""
    from apache_beam.io.aws.s3io import S3IO, parse_s3_path

    bucket, key = parse_s3_path(path)
    system: Any = FileSystems.get_filesystem(path)
    client = S3IO(options=system._options).client.client  # Beam's own, with its settings
    client.put_object(Bucket=bucket, Key=key, Body=b"")


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Gives a local path with the content of `path`, and the same ending of the name."""
    if is_local(path):
        yield path
        return
    _, name = FileSystems.split(path)
    with tempfile.TemporaryDirectory(prefix="captionbeam-") as directory:
        local = os.path.join(directory, name)
        with open_file(path) as reader, open(local, "wb") as writer:
            shutil.copyfileobj(reader, writer, _BLOCK)
        yield local


def remove(path: str) -> None:
    """Removes a file if it is there."""
    if is_local(path):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    elif FileSystems.exists(path):
        FileSystems.delete([path])


@contextlib.contextmanager
def temporary_directory(beside: str) -> Iterator[str]:
    """A local directory that is gone afterwards, in the directory `beside` if that is local too."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=beside if is_local(beside) else None) as path:
        yield path
