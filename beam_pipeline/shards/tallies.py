"""Counts that workers leave for the process that shows progress, in memory that they share through a file each.

They are for the eye only: what was done is what the ledgers say. Workers on other machines find no such directory, and
count into nothing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from beam_pipeline.shards.ledger import OUTCOMES, LedgerLine

LISTED, NEW, HASHED, SHARDS = "listed", "new", "hashed", "shards"
_NAMES = (LISTED, NEW, HASHED, SHARDS, *OUTCOMES)
_LAYOUT = struct.Struct(f"<{len(_NAMES)}q")
_ENDING = ".tally"

Element = TypeVar("Element")


@dataclass(frozen=True)
class Tallies:
    """Where a job's workers count; picklable, for a DoFn to hold.

    Attributes:
      directory: a local one that the launching process reads; "" to count into nothing.
    """

    directory: str = ""

    def add(self, name: str, number: int = 1) -> None:
        """Adds to one of the counts."""
        if self.directory:
            _of_this_process(self.directory).add(name, number)

    def add_lines(self, lines: Iterable[LedgerLine]) -> None:
        """Adds what became of inputs."""
        for line in lines:
            self.add(line.outcome)

    def passing(self, element: Element, name: str) -> Element:
        """Counts an element on its way, for `beam.Map`."""
        self.add(name)
        return element

    def read(self) -> Counter[str]:
        """What all workers have counted so far."""
        total: Counter[str] = Counter()
        if not self.directory:
            return total
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith(_ENDING):
                    with open(entry.path, "rb") as file:
                        content = file.read()
                    if len(content) == _LAYOUT.size:  # else it is being made
                        total.update(dict(zip(_NAMES, _LAYOUT.unpack(content), strict=True)))
        return total


NOWHERE = Tallies()


class _Tally:
    """The counts of one process."""

    def __init__(self, directory: str):
        self._counts = dict.fromkeys(_NAMES, 0)
        self._lock = threading.Lock()
        self._shared: mmap.mmap | bytearray = bytearray(_LAYOUT.size)
        with contextlib.suppress(OSError), open(os.path.join(directory, f"{uuid.uuid4()}{_ENDING}"), "x+b") as file:
            file.write(self._shared)
            file.flush()
            self._shared = mmap.mmap(file.fileno(), _LAYOUT.size)

    def add(self, name: str, number: int) -> None:
        with self._lock:
            self._counts[name] += number
            struct.pack_into("<q", self._shared, 8 * _NAMES.index(name), self._counts[name])


_tallies: dict[tuple[int, str], _Tally] = {}
_making = threading.Lock()


def _of_this_process(directory: str) -> _Tally:
    key = os.getpid(), directory  # a forked process counts for itself
    tally = _tallies.get(key)
    if tally is None:
        with _making:
            tally = _tallies.get(key) or _tallies.setdefault(key, _Tally(directory))
    return tally
