"""Reads pictures by their address, wherever they lie, and checks that they are unchanged."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.input_file import InputFile, UnreadableMember, split_member_uri
from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.inputs.written_mark import states_before

_MOST_PLACES = 200_000  # of members, in all containers together; each takes about half a kilobyte


class PictureReader:
    """Reads files and members of containers by address.

    The places of all members of the latest containers are kept, so that addresses may come in any order.
    """

    def __init__(self) -> None:
        self._containers: dict[str, dict[str, InputFile]] = {}  # the one that was used last stands last

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
        members = self._containers.pop(container, None)
        if members is None:
            listed = list_container(stat_file(container), Counter())
            members = {file.uri: replace(file, captions=()) for file in listed}
            while sum(map(len, self._containers.values())) + len(members) > _MOST_PLACES and self._containers:
                del self._containers[next(iter(self._containers))]
        self._containers[container] = members
        if uri in members:
            return members[uri]
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
