"""Live counts for the progress display: workers leave them in memory that they share through one file a process.

They are for the eye only; the ledgers say what was done. Workers on other machines find no such directory and count
nothing.
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
_ENDING = ".counts"

Element = TypeVar("Element")


@dataclass(frozen=True)
class LiveCounts:
    """Counters that every worker of a job adds to and the launching process reads; picklable, for a DoFn to hold.

    Attributes:
      directory: local directory with one file a worker process; "" to count nothing.
    """

    directory: str = ""

    def add(self, name: str, number: int = 1) -> None:
        """Adds to the counter `name`: an outcome of the ledger, LISTED, NEW, HASHED or SHARDS."""
        if self.directory:
            _counters_of_this_process(self.directory).add(name, number)

    def add_lines(self, lines: Iterable[LedgerLine]) -> None:
        """Adds the outcome of each ledger line."""
        for line in lines:
            self.add(line.outcome)

    def count_element(self, element: Element, name: str) -> Element:
        """Adds 1 to the counter `name` and returns the element, for `beam.Map`."""
        self.add(name)
        return element

    def read(self) -> Counter[str]:
        """Sums over all worker processes, by name; empty where nothing can be read."""
        total: Counter[str] = Counter()
        if not self.directory:
            return total
        with contextlib.suppress(OSError), os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith(_ENDING):
                    with open(entry.path, "rb") as file:
                        content = file.read()
                    if len(content) == _LAYOUT.size:  # else the worker is only making the file
                        total.update(dict(zip(_NAMES, _LAYOUT.unpack(content), strict=True)))
        return total


class _ProcessCounters:
    """The counters of one worker process, in a memory-mapped file; in plain memory where no file can be made."""

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


_counters: dict[tuple[int, str], _ProcessCounters] = {}
_making = threading.Lock()


def _counters_of_this_process(directory: str) -> _ProcessCounters:
    key = os.getpid(), directory  # a forked process counts for itself
    counters = _counters.get(key)
    if counters is None:
        with _making:
            counters = _counters.get(key) or _counters.setdefault(key, _ProcessCounters(directory))
    return counters
