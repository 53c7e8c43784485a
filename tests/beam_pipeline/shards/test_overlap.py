"""While one shard is finished, the next one is made."""

import threading

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.runtime.counts import COUNTS
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.overlap import MakeShard, MakeShards, count_outcomes


def line(outcome: str) -> LedgerLine:
    return LedgerLine("/p/a.jpg", 1, 1.0, "aa", outcome)


class Double(MakeShard):
    def make(self, number):
        return 2 * number, [line("done")] * number


class Meet(MakeShard):
    """Makes a shard only together with another one."""

    def setup(self):
        super().setup()
        self.barrier = threading.Barrier(2, timeout=30)

    def make(self, number):
        self.barrier.wait()
        return number, ()


class Fail(MakeShard):
    def make(self, number):
        raise ValueError("no shard")


def run_bundle(do_fn: MakeShard, elements):
    """What a DoFn gives for one bundle: outputs of `process`, and those of `finish_bundle`."""
    do_fn.setup()
    do_fn.start_bundle()
    outputs = [output for element in elements for output in do_fn.process(element)]
    finished = [windowed.value for windowed in do_fn.finish_bundle()]
    do_fn.teardown()
    return outputs, finished


def test_outputs_come_in_the_order_of_the_elements(local_pipeline):
    with local_pipeline() as pipeline:
        made = pipeline | beam.Create([1, 2, 3]) | MakeShards(Double())
        assert_that(made.main, equal_to([2, 4, 6]), "Main")
        counts = made.counts | beam.Flatten() | beam.CombinePerKey(sum)
        assert_that(counts, equal_to([("done", 6)]), "Counts")


def test_two_shards_are_made_at_once():
    assert run_bundle(Meet(), [1, 2, 3, 4]) == ([1, 2, 3], [4])


def test_an_error_of_a_shard_is_raised():
    with pytest.raises(ValueError, match="no shard"):
        run_bundle(Fail(), [1])


def test_outcomes_are_counted():
    outputs = list(count_outcomes([line("done"), line("rejected"), line("done")]))
    assert [(output.tag, output.value) for output in outputs] == [(COUNTS, ("done", 2)), (COUNTS, ("rejected", 1))]
    assert list(count_outcomes([])) == []
