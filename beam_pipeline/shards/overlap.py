"""Shards made one behind the other: while one is being finished, the next is being encoded.

A shard ends with work that leaves the encoder idle: the last captions, statistics, checksums, files. A DoFn that makes
shards by `MakesShards` does that beside the beginning of the next shard of its bundle.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam

from beam_pipeline.runtime.counts import globally

_AT_ONCE = 2  # one that is being finished, and one that is being encoded

# Held by who feeds the encoder: two at once would hold two shards' pictures and finish no sooner.
ENCODING = threading.Lock()


class MakesShards(beam.DoFn):
    """Calls `make` for every element, on threads, and `outputs` with what it gave, in Beam's own thread and in the
    order of the elements; both are for subclasses.
    """

    def make(self, element: Any) -> Any:
        """Makes and commits one shard."""
        raise NotImplementedError

    def outputs(self, made: Any) -> Iterator[Any]:
        """What `make` gave -> elements and TaggedOutputs, without a window of their own."""
        raise NotImplementedError

    def setup(self):
        self._threads = ThreadPoolExecutor(_AT_ONCE)

    def start_bundle(self):
        self._pending: deque[Future] = deque()

    def process(self, element: Any):
        self._pending.append(self._threads.submit(self.make, element))
        if len(self._pending) == _AT_ONCE:
            yield from self.outputs(self._pending.popleft().result())

    def finish_bundle(self):
        while self._pending:
            yield from map(globally, self.outputs(self._pending.popleft().result()))

    def teardown(self):
        # What is still to come belongs to a bundle that failed.
        self._threads.shutdown(cancel_futures=True)
