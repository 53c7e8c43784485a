"""Files on any TensorFlow file system (`s3://`, `gs://`, ...): whole reads, and writes that appear whole or not at all.

A local path needs no TensorFlow, which is imported only where a path is remote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from training import documents, files
from training.errors import RemoteError, UserError
from training.files import is_local
from training.scratch import scratch_directory

T = TypeVar("T")

_BLOCK = 1 << 20
_TENSORFLOW_IO = ("s3", "az", "hdfs", "viewfs", "http", "https")  # file systems that importing it adds to TensorFlow


def load_file_system(path: str) -> None:
    """Enables TensorFlow to open a path: `s3://` and others need tensorflow-io; `gs://` and local paths nothing.

    An S3 server other than Amazon's is named by AWS_ENDPOINT_URL, as for Beam; TensorFlow calls it S3_ENDPOINT.
    Files are read in one part: where a store answers "slow down" to one of several, tensorflow-io 0.37 takes the hole
    that it leaves for the file's content.

    Raises:
      UserError: tensorflow-io is not installed.
    """
    scheme, remote, _ = path.partition("://")
    if not remote or scheme not in _TENSORFLOW_IO:
        return
    for theirs, usual in (("S3_ENDPOINT", "AWS_ENDPOINT_URL"), ("AWS_REGION", "AWS_DEFAULT_REGION")):
        if usual in os.environ:
            os.environ.setdefault(theirs, os.environ[usual])
    os.environ.setdefault("S3_DISABLE_MULTI_PART_DOWNLOAD", "1")
    # Five and ten minutes by default, eleven times: a store that does not answer is to end the job after about one.
    os.environ.setdefault("S3_CONNECT_TIMEOUT_MSEC", "3000")
    os.environ.setdefault("S3_REQUEST_TIMEOUT_MSEC", "10000")
    os.environ.setdefault("AWS_RETRY_MODE", "standard")  # in which the number of attempts counts
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "5")
    try:
        import tensorflow_io  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{path}: TensorFlow opens {scheme}:// with tensorflow-io alone, which is not installed here; "
            "it has wheels for Python 3.10 to 3.12 on Linux and macOS: use one of those, or a local copy"
        ) from error


@contextlib.contextmanager
def _remote(path: str) -> Iterator[Any]:
    """Gives `tf.io.gfile` ready for a remote path.

    Raises:
      FileNotFoundError: the store says that there is no such file.
      RemoteError: in place of TensorFlow's other errors.
    """
    import tensorflow as tf

    load_file_system(path)
    try:
        try:
            yield tf.io.gfile
        except tf.errors.NotFoundError:
            # tensorflow-io says so of a store too that refuses or does not answer, but not where a file is read.
            tf.io.gfile.GFile(path, "rb").read(1)
            raise tf.errors.UnavailableError(None, None, "the store did not answer") from None
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.OpError as error:
        said = " ".join(error.message.split()).strip(": ")
        raise RemoteError(f"{path}: {said}; check the address and the credentials") from error


@contextlib.contextmanager
def reading(path: str) -> Iterator[BinaryIO]:
    """Opens a file for reading bytes.

    Raises:
      FileNotFoundError: there is no such file.
      OSError: it cannot be read.
    """
    if is_local(path):
        with files.open_regular(path) as file:  # a pipe would be waited for, and could not be read again
            yield file
        return
    with _remote(path) as gfile, gfile.GFile(path, "rb") as file:
        file.read(1)  # the first request to a store is one whose failure is told; see `_remote`
        file.seek(0)
        yield file


def read_bytes(path: str) -> bytes:
    """Path -> the whole file; raises OSError as `reading` does."""
    with reading(path) as file:
        return file.read()


@contextlib.contextmanager
def reading_own(path: str) -> Iterator[BinaryIO]:
    """Opens a file of a directory that captionbeam made, for reading bytes; a link is not followed.

    Raises:
      UserError: it is a link, a folder or a device.
      OSError: as `reading` does.
    """
    with files.open_own(path) if is_local(path) else reading(path) as file:
        yield file


def read_own(path: str) -> bytes:
    """Path of a file of a directory that captionbeam made -> the whole file; raises as `reading_own` does."""
    with reading_own(path) as file:
        return file.read()


def read_document(path: str, kind: type[T], mend: str, version: int | None = None) -> T | None:
    """Path of a JSON document -> what it holds, as `documents.parse_document` reads it; None if there is no file.

    Raises:
      UserError: it is damaged, of another schema version, or no file.
      OSError: it cannot be read.
    """
    try:
        data = read_own(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return documents.parse_document(data, kind, path, mend, version)


def exists(path: str) -> bool:
    """Whether there is a file or a directory at `path`."""
    if is_local(path):
        return os.path.exists(path)
    with contextlib.suppress(FileNotFoundError), _remote(path) as gfile:
        gfile.stat(path)
        return True
    return False


def file_size(path: str) -> int:
    """Path -> size of the file in bytes; raises FileNotFoundError if there is none."""
    if is_local(path):
        return os.path.getsize(path)
    with _remote(path) as gfile:
        return gfile.stat(path).length


def own_size(path: str) -> int:
    """Path of a file of a directory that captionbeam made -> its size in bytes.

    Raises:
      UserError: it is a link, a folder or a device.
      FileNotFoundError: there is none.
    """
    return files.require_own(path) if is_local(path) else file_size(path)


def content_hash(path: str) -> str:
    """Path -> sha256 of the file's bytes, in hex; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with reading(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """Gives a local name to write to; on leaving without an exception the file appears at `path`, whole.

    Raises:
      OSError: the file cannot be written.
    """
    if is_local(path):
        with files.new_file(path) as temporary:
            yield temporary
        return
    with scratch_directory() as directory:
        local = os.path.join(directory, posixpath.basename(path))
        yield local
        uploaded = f"{path}.{uuid.uuid4().hex[:12]}.partial"
        with _remote(path) as gfile:
            gfile.copy(local, uploaded)
            gfile.rename(uploaded, path, overwrite=True)


def write_bytes(path: str, data: bytes) -> None:
    """Replaces the file at `path` in one step."""
    with new_file(path) as local, open(local, "wb") as file:
        file.write(data)


def write_text(path: str, text: str) -> None:
    """Replaces the file at `path` by UTF-8 text in one step."""
    write_bytes(path, text.encode())


def write_json(path: str, document: Any) -> None:
    """Replaces the file at `path` by indented JSON in one step.

    Raises:
      ValueError: the document holds a NaN, which has no JSON form; the old file stays.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_document(path: str, content: Mapping[str, Any]) -> None:
    """Replaces the file at `path` by a JSON document with its checksum, in one step; `read_document` reads it.

    Raises:
      ValueError: the content holds a NaN, which has no JSON form; the old file stays.
    """
    write_bytes(path, documents.to_document(content))


def copy_file(source: str, target: str) -> None:
    """Copies a file, local or remote each; `target` appears whole."""
    with reading(source) as reader, new_file(target) as local, open(local, "wb") as writer:
        shutil.copyfileobj(reader, writer, _BLOCK)


def copy_own(source: str, target: str) -> None:
    """Copies a file of a directory that captionbeam made; a link is not followed. `target` appears whole."""
    with reading_own(source) as reader, new_file(target) as local, open(local, "wb") as writer:
        shutil.copyfileobj(reader, writer, _BLOCK)


def make_directory(path: str) -> None:
    """Makes a directory with its parents; one that exists is left as it is."""
    if is_local(path):
        os.makedirs(path, exist_ok=True)
        return
    with _remote(path) as gfile:
        gfile.makedirs(path)


def remove(path: str) -> None:
    """Removes a file if it exists."""
    with contextlib.suppress(FileNotFoundError):
        if is_local(path):
            os.remove(path)
            return
        with _remote(path) as gfile:
            gfile.remove(path)
