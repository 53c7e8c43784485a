"""Whole files, written so that a reader sees the old one or the new one, never half of it.

Paths go through `tf.io.gfile`: local, `s3://`, `gs://` and whatever else TensorFlow can reach.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from training.errors import JobFailed, UserError

LOCK = ".lock"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_TENSORFLOW_IO = ("s3", "az", "hdfs", "viewfs", "http", "https")  # file systems that importing it adds to TensorFlow


def reach(path: str) -> None:
    """Makes TensorFlow able to open a path: `s3://` and others need tensorflow-io; `gs://` and local paths nothing.

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
    try:
        import tensorflow_io  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{path}: TensorFlow opens {scheme}:// with tensorflow-io alone, which is not installed here; "
            "it has wheels for Python 3.10 to 3.12 on Linux and macOS: use one of those, or a local copy"
        ) from error


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Holds a directory that is there for one run; on remote file systems nothing is locked.

    Raises:
      JobFailed: another run holds it.
    """
    if "://" in directory:
        yield
        return
    import fcntl

    # Not "w": a run that finds nothing to do leaves no trace, not even a time.
    with open(os.path.join(directory, LOCK), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JobFailed(
                f"--output {directory}: another captionbeam is writing here; wait for it or choose another"
            ) from error
        yield


@contextlib.contextmanager
def writing(path: str, kept: str) -> Iterator[None]:
    """Says in one line that the disk is full, or that a quota or limit forbids to write on.

    Args:
      path: what is being written, for the message.
      kept: what a second run finds, for the message.

    Raises:
      JobFailed: in place of the error of Python, TensorFlow or HDF5; other errors pass.
    """
    try:
        yield
    # TensorFlow knows no errno and maps them to several of its classes; HDF5 has the system's words in its own.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        for code in _NO_ROOM:
            if os.strerror(code) in str(error):
                raise JobFailed(
                    f"{path}: cannot be written ({os.strerror(code).lower()}); make room and run again: {kept}"
                ) from error
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Replaces the file at `path` in one step."""
    partial = f"{path}.partial"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(data)
    tf.io.gfile.rename(partial, path, overwrite=True)


def write_text(path: str, text: str) -> None:
    """Replaces the file at `path` by UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: str, document: Any) -> None:
    """Replaces the file at `path` by indented JSON; NaN has no JSON form and is refused."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: str) -> bytes:
    """Raises `tf.errors.NotFoundError` if there is no such file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def read_json(path: str) -> Any:
    """Raises `tf.errors.NotFoundError` if there is no such file, ValueError if it is not JSON."""
    return json.loads(read_bytes(path).decode())


def content_hash(path: str) -> str:
    """Path -> sha256 of the file's bytes, in hex; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except tf.errors.OpError:
        return ""
    return digest.hexdigest()
