"""What `storage` does at addresses with a scheme, `s3://` and the like, by Beam's file systems.

`storage` imports this module when it meets such an address, so that local paths never load Beam.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

_BLOCK = 1 << 20  # bytes

# A store that is asked too much refuses the same request several times in a row; boto3 gives up after three, and Beam
# asks some requests, such as the last of an upload, no second time.
os.environ.setdefault("AWS_MAX_ATTEMPTS", "10")


def use_options(options: PipelineOptions) -> None:
    """Gives Beam's file systems the options that they read (`--s3_endpoint_url` and the like)."""
    FileSystems.set_options(options)


def join(directory: str, name: str) -> str:
    """Address of a directory and a name in it -> address of the file."""
    return FileSystems.join(directory, name)


def exists(path: str) -> bool:
    """Whether there is a file at an address."""
    return FileSystems.exists(path)


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading bytes, as they are.

    Raises:
      OSError: it cannot be opened.
    """
    try:
        # A name ending in .gz would otherwise be unpacked.
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    except BeamIOError as error:
        raise OSError(str(error)) from error


def find_files(pattern: str, limit: int | None = None) -> list[tuple[str, int, float]]:
    """Pattern -> (address, size in bytes, time of the last write in seconds since 1970) of `limit` matches at most.

    Raises:
      OSError: the file system gives no answer.
      ValueError: there is no file system for the scheme.
    """
    (matched,) = FileSystems.match([pattern], limits=[limit])
    return [(found.path, found.size_in_bytes, found.last_updated_in_seconds) for found in matched.metadata_list]


def list_directory(path: str) -> dict[str, int]:
    """Address of a directory -> {file name: size in bytes}; empty if there is none."""
    return {FileSystems.split(found)[1]: size for found, size, _ in find_files(join(path, "*"))}


def last_written(path: str) -> float | None:
    """When the newest file of a directory was written, seconds since 1970; None if nobody knows."""
    return max((time for _, size, time in find_files(join(path, "*")) if size and time), default=None)


def upload(source: str, path: str) -> None:
    """Copies a local file to an address, where it appears whole."""
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


def remove(path: str) -> None:
    """Removes a file if it exists."""
    if FileSystems.exists(path):
        FileSystems.delete([path])
