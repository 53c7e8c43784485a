"""Reads pictures by their address, wherever they lie, and checks that they are unchanged."""

from __future__ import annotations

import hashlib
from collections import Counter

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.input_file import InputFile, UnreadableMember, split_member_uri
from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.inputs.written_mark import states_before


class PictureReader:
    """Reads files and members of containers by address.

    The places of all members of the latest container are kept, so it is fastest to read in the order of the addresses.
    """

    def __init__(self) -> None:
        self._container = ""
        self._members: dict[str, InputFile] = {}

    def read(self, uri: str, max_bytes: int = 1 << 62) -> bytes:
        """Address of a file or member -> its content.

        Args:
          max_bytes: limit of its size.

        Raises:
          OSError: it cannot be read, or is larger than the limit; the message is the reason, for a person.
        """
        member = split_member_uri(uri)
        file = stat_file(uri) if member is None else self._member(member[0], uri)
        if file.problem:
            raise UnreadableMember(file.problem)
        return read_input(file, max_bytes)

    def read_unchanged(self, uri: str, sha256: str) -> bytes:
        """Address of a captioned picture -> its content.

        Args:
          sha256: hex digest of the content that was captioned.

        Raises:
          OSError: it cannot be read, or has changed since; the message is the reason, for a person.
        """
        return require_unchanged(self.read(uri), sha256)

    def _member(self, container: str, uri: str) -> InputFile:
        if container != self._container:
            self._container = container
            self._members = {file.uri: file for file in list_container(stat_file(container), Counter())}
        if uri in self._members:
            return self._members[uri]
        raise UnreadableMember("no such member in the archive any more")


def require_unchanged(data: bytes, sha256: str) -> bytes:
    """Content of a captioned picture -> the same.

    Metadata that we wrote into it since do not count (`written_mark.states_before`).

    Args:
      sha256: hex digest of the content that was captioned.

    Raises:
      UnreadableMember: it is another one.
    """
    if hashlib.sha256(data).hexdigest() != sha256 and sha256 not in states_before(data):
        raise UnreadableMember("changed since it was captioned; run captionbeam caption again")
    return data
