"""Shards made with overlap: while one shard is finished, the next one is encoded.

The end of a shard leaves the encoder idle: its last captions, statistics, checksums and files. `MakeShard` does that
beside the beginning of the next shard of its bundle.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PCollection, TaggedOutput

from beam_pipeline.runtime.counts import COUNTS, Outputs, count, globally
from beam_pipeline.shards.ledger import DONE, LedgerLine

_AT_ONCE = 2  # one shard that is being finished, and one that is being encoded

# Held while pictures go through the encoder: two shards at once would hold the pictures of both and end no sooner.
ENCODING = threading.Lock()

Made = tuple[Any, Iterable[LedgerLine]]


class MakeShard(beam.DoFn):
    """Element -> what `make` returns for it, and the counts of the outcomes; in the order of the elements.

    Subclasses implement `make`, which runs on threads, up to two at once.
    """

    def make(self, element: Any) -> Made:
        """Makes and commits the shard of an element -> (output of the shard, ledger lines whose outcomes count)."""
        raise NotImplementedError

    def setup(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE)

    def start_bundle(self) -> None:
        self._pending: deque[Future[Made]] = deque()

    def process(self, element: Any) -> Iterator[Any]:
        self._pending.append(self._threads.submit(self.make, element))
        if len(self._pending) == _AT_ONCE:
            yield from self._oldest()

    def finish_bundle(self) -> Iterator[Any]:
        while self._pending:
            yield from map(globally, self._oldest())

    def teardown(self) -> None:
        # What is still pending belongs to a bundle that failed.
        self._threads.shutdown(cancel_futures=True)

    def _oldest(self) -> Iterator[Any]:
        output, lines = self._pending.popleft().result()
        yield from count_outcomes(lines)
        yield output


class MakeShards(beam.PTransform):
    """Elements -> Outputs of a MakeShard: what each shard gave, and the counts of the outcomes."""

    def __init__(self, make_shard: MakeShard):
        super().__init__()
        self.make_shard = make_shard

    def expand(self, elements: PCollection) -> Outputs:
        made = elements | "MakeShard" >> beam.ParDo(self.make_shard).with_outputs(COUNTS, main="main")
        return Outputs(made.main, (made[COUNTS],))


def count_outcomes(lines: Iterable[LedgerLine]) -> Iterator[TaggedOutput]:
    """Ledger lines -> the count of each outcome; also as Beam metrics, which runners show while the job runs.

    Counts `profiles_left_out` too: a line of what is done says that by its reason.
    """
    lines = list(lines)
    if left_out := sum(line.outcome == DONE and line.reason != "" for line in lines):
        yield count("profiles_left_out", left_out)
    for outcome, number in Counter(line.outcome for line in lines).items():
        Metrics.counter("captionbeam", outcome).inc(number)
        yield count(outcome, number)
