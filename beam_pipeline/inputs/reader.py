"""The bytes of a captioned file, wherever it lies, if they still are what was captioned."""

from __future__ import annotations

import hashlib
from collections import Counter

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.input_file import InputFile, UnreadableMember, split_member_uri
from beam_pipeline.inputs.sources import ask_file


class PictureReader:
    """Reads files and members of containers by address.

    Of a container the places of all its members are kept until another one is asked for, so ask in the order of the
    addresses.
    """

    def __init__(self) -> None:
        self._container = ""
        self._members: dict[str, InputFile] = {}

    def read(self, uri: str, max_bytes: int = 1 << 62) -> bytes:
        """Address -> content.

        Args:
          max_bytes: more is an error; what caption took is not too large.

        Raises:
          OSError: it cannot be read; the message says why.
        """
        member = split_member_uri(uri)
        file = ask_file(uri) if member is None else self._member(member[0], uri)
        if file.problem:
            raise UnreadableMember(file.problem)
        return read_input(file, max_bytes)

    def read_captioned(self, uri: str, sha256: str) -> bytes:
        """Like `read`, of what was captioned and nothing else."""
        return require_captioned(self.read(uri), sha256)

    def _member(self, container: str, uri: str) -> InputFile:
        if container != self._container:
            self._container = container
            self._members = {file.uri: file for file in list_container(ask_file(container), Counter())}
        if uri in self._members:
            return self._members[uri]
        raise UnreadableMember("no such member in the archive any more")


def require_captioned(data: bytes, sha256: str) -> bytes:
    """Content of a file -> the same; raises OSError where it is not what the digest says."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableMember("changed since it was captioned; run captionbeam caption again")
    return data
