"""What `storage` does at addresses with a scheme, `s3://` and the like, by Beam's file systems.

`storage` imports this module when it meets such an address, so that local paths never load Beam.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from training.errors import RemoteError, UserError

_BLOCK = 1 << 20  # bytes

# A store that is asked too much refuses the same request several times in a row; boto3 gives up after three, and Beam
# asks some requests, such as the last of an upload, no second time.
os.environ.setdefault("AWS_MAX_ATTEMPTS", "10")
# A store that does not answer ends the job: three seconds for a connection, twenty at most between two attempts.
os.environ.setdefault("AWS_DEFAULTS_MODE", "standard")
_ANSWER_SECONDS = 20


def _status_of(error: Exception) -> int:
    """Error of boto3 -> the status of the store's answer; 0 where there was none, which Beam does not ask for again."""
    response = getattr(error, "response", None) or {}
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


with contextlib.suppress(ImportError):  # without the extra s3
    import botocore.config
    import botocore.session
    from apache_beam.io.aws.clients.s3 import boto3_client

    botocore.config.Config.OPTION_DEFAULTS["read_timeout"] = _ANSWER_SECONDS  # Beam's client takes no settings
    boto3_client.get_http_error_code = _status_of  # Beam's own fails without an answer, and asks seven times more
    # Beam makes a client for each request; each would parse a megabyte of descriptions of S3, which takes 0.1 s.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


class UnknownScheme(UserError, ValueError):
    """There is no file system for the scheme of an address."""


@contextlib.contextmanager
def _asking(path: str) -> Iterator[None]:
    """Within it a file system is asked about `path`.

    Raises:
      RemoteError: in place of what Beam and its clients raise.
      UnknownScheme: there is no file system for it.
    """
    if FileSystems._pipeline_options is None and RuntimeValueProvider.runtime_options is None:
        use_options(PipelineOptions([]))  # without any, S3 refuses; in a pipeline Beam sets its own
    try:
        yield
    except (BeamIOError, S3ClientError) as error:
        raise RemoteError(f"{path}: {_cause(error)}; check the address and the credentials") from error
    except ValueError as error:
        if "Unable to get filesystem" not in str(error):
            raise
        scheme = path.partition("://")[0]
        raise UnknownScheme(f"{path}: there is no file system for {scheme}:// here; give a local path") from error


def _cause(error: Exception) -> str:
    """Error of Beam, with others in it -> what went wrong, in one line."""
    while isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))
    said = error.message if isinstance(error, S3ClientError) else error
    return " ".join(str(said).split()) or type(error).__name__


def use_options(options: PipelineOptions) -> None:
    """Gives Beam's file systems the options that they read (`--s3_endpoint_url` and the like)."""
    FileSystems.set_options(options)


def join(directory: str, name: str) -> str:
    """Address of a directory and a name in it -> address of the file."""
    with _asking(directory):
        return FileSystems.join(directory, name)


def exists(path: str) -> bool:
    """Whether there is a file at an address."""
    with _asking(path):
        return FileSystems.exists(path)


def open_file(path: str) -> BinaryIO:
    """Opens a file for reading bytes, as they are.

    Raises:
      OSError: it cannot be opened.
    """
    with _asking(path):
        # A name ending in .gz would otherwise be unpacked.
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def find_files(pattern: str, limit: int | None = None) -> list[tuple[str, int, float]]:
    """Pattern -> (address, size in bytes, time of the last write in seconds since 1970) of `limit` matches at most.

    Raises:
      OSError: the file system gives no answer.
      ValueError: there is no file system for the scheme.
    """
    with _asking(pattern):
        (matched,) = FileSystems.match([pattern], limits=[limit])
    return [(found.path, found.size_in_bytes, found.last_updated_in_seconds) for found in matched.metadata_list]


def list_directory(path: str) -> dict[str, int]:
    """Address of a directory -> {file name: size in bytes}; empty if there is none."""
    return {FileSystems.split(found)[1]: size for found, size, _ in find_files(join(path, "*"))}


def last_written(path: str) -> float | None:
    """When the newest file of a directory was written, seconds since 1970; None if nobody knows."""
    return max((time for _, size, time in find_files(join(path, "*")) if size and time), default=None)


def upload(source: str, path: str) -> None:
    """Copies a local file to an address, where it appears whole.

    Raises:
      OSError: it cannot be written there.
    """
    if path.startswith("s3://") and not os.path.getsize(source):
        with _asking(path):
            _upload_nothing_to_s3(path)
        return
    # An object store shows an object only when its upload has ended, so no rename is needed there.
    with (
        _asking(path),
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
    with _asking(path):
        if FileSystems.exists(path):
            FileSystems.delete([path])
