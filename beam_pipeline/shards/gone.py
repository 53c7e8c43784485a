"""Files that a directory counts and that are no longer listed."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_pipeline.inputs.input_file import MEMBER_SEPARATOR, split_member_uri
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import uri_key


class UnreadableInputs(beam.PTransform):
    """InputFile -> (key of its uri, True) of each that cannot be read, a folder or an archive too."""

    def expand(self, files: PCollection) -> PCollection:
        return (
            files
            | "KeepProblems" >> beam.Filter(lambda file: bool(file.problem and not file.member))
            | "AddressOf" >> beam.Map(lambda file: (uri_key(file.uri), True))
        )


def is_gone(uri: str, unreadable: Container[bytes]) -> bool:
    """Whether a file that is not listed is known to be no part of the collection any more.

    It is not known of a file below a folder or in an archive that cannot be read.

    Args:
      unreadable: keys of the uris of folders and archives that could not be listed, or not to their end.
    """
    if unreadable and any(uri_key(above) in unreadable for above in _above(uri)):
        return False
    member = split_member_uri(uri)
    path = member[0] if member else uri
    try:
        if storage.is_local(path):
            os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return True
    except OSError:  # nobody knows: no right to look, or a disk that does not answer
        return False
    return True  # the file is there and belongs to another collection now


def _above(uri: str) -> Iterator[str]:
    """Address -> the addresses of all folders and containers that it may lie in."""
    for place, char in enumerate(uri):
        if char == "/":
            folder = uri[:place]
            yield folder or "/"
            yield folder.removesuffix(MEMBER_SEPARATOR[0])
