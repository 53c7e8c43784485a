"""One run over an output directory: lock, standing, pipeline, rejected list and balance."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.runtime.counts import NOTES_KEPT, Outputs
from beam_pipeline.shards.balance import HOW_TO_RETRY
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.run import GatherResults, Run, write_rejected
from beam_pipeline.shards.shard_id import ShardId
from training.errors import JobFailed

TOTALS = {"listed": 2, "done": 1, "duplicate": 0, "rejected": 1, "new_done": 1}
LINES = [LedgerLine("/p/a.jpg", 1, 1.0, "aa", "done"), LedgerLine("/p/b.jpg", 1, 1.0, "", "rejected", "read", "gone")]


@pytest.fixture
def run(tmp_path):
    return Run("extract", str(tmp_path / "out"), PipelineOptions([]))


def test_a_run_holds_its_directory(run):
    with run, pytest.raises(JobFailed, match="another captionbeam is writing here"), Run("caption", run.output, None):
        pass
    with Run("extract", run.output, PipelineOptions([])):
        pass


def test_a_failure_releases_the_directory(run):
    with pytest.raises(ValueError, match="x"), run:
        raise ValueError("x")
    with Run("extract", run.output, PipelineOptions([])):
        pass


def test_discarded_shards_are_made_again(tmp_path):
    for index in range(3):
        (tmp_path / ShardId(1, index, 3).ledger()).write_bytes(b"")
    with Run("extract", str(tmp_path), PipelineOptions([])) as run:
        run.discard([ShardId(1, 1, 3)])
        assert run.standing.committed == (ShardId(1, 0, 3), ShardId(1, 2, 3))
        assert [unfinished.shards() for unfinished in run.standing.unfinished] == [[ShardId(1, 1, 3)]]
    assert not (tmp_path / ShardId(1, 1, 3).ledger()).exists()


def test_a_pipeline_runs_when_its_block_ends_and_counts_live(run, tmp_path):
    ran = tmp_path / "ran"
    with run:
        with run.pipeline() as pipeline:
            assert run.live_counts != LiveCounts()
            counted = pipeline | beam.Create(["x"]) | beam.Map(run.live_counts.count_element, "done")
            _ = counted | beam.Map(ran.write_text)
            assert not ran.exists()
        assert ran.read_text() == "x"


def test_a_failed_pipeline_is_one_line(run):
    with run, pytest.raises(JobFailed, match="the pipeline failed: division by zero"), run.pipeline() as pipeline:
        _ = pipeline | beam.Create([0]) | beam.Map(lambda zero: 1 / zero)


def test_the_balance_is_printed_with_the_list_of_rejected_inputs(run, tmp_path, capsys):
    with run:
        (tmp_path / "out" / ShardId(1, 0, 1).ledger()).write_bytes(to_jsonl(LINES))
        run.print_balance(TOTALS | {"pictures_without_caption": 2})
    assert capsys.readouterr().out.splitlines() == [
        "2 inputs = 1 done + 0 duplicates + 1 rejected (1 done in this run)",
        "2 pictures have no caption",
        "rejected: 1 read: gone",
        f"{tmp_path}/out/rejected.txt lists the rejected inputs; {HOW_TO_RETRY}",
    ]
    run.check_balance(TOTALS, 0.5)
    with pytest.raises(JobFailed, match=f"over the limit of 10% .*{tmp_path}/out/rejected.txt lists"):
        run.check_balance(TOTALS, 0.1)


def test_the_rejected_list_names_what_stays_rejected(tmp_path):
    (tmp_path / ShardId(1, 0, 1).ledger()).write_bytes(to_jsonl(LINES))
    assert [line.uri for line in write_rejected(str(tmp_path))] == ["/p/b.jpg"]
    assert (tmp_path / "rejected.txt").read_text() == "/p/b.jpg\n"


def test_results_hold_elements_sums_and_the_first_notes(local_pipeline):
    texts = [f"{number:03d}.jpg" for number in range(NOTES_KEPT + 1)]

    def create(pipeline, label, elements):
        return pipeline | label >> beam.Create(elements)

    with local_pipeline() as pipeline:
        elements = create(pipeline, "Elements", ["shard"])
        first = Outputs(elements, (create(pipeline, "Counts", [("done", 1), ("listed", 2)]),))
        counts = create(pipeline, "MoreCounts", [("done", 4)])
        notes = create(pipeline, "Notes", [("odd", text) for text in reversed(texts)])
        results = elements | GatherResults(first, Outputs(elements, (counts,), (notes,)))
        assert_that(results, equal_to([Results(["shard"], {"done": 5, "listed": 2}, {"odd": texts[:NOTES_KEPT]})]))


def test_without_counts_and_notes_results_are_empty(local_pipeline):
    with local_pipeline() as pipeline:
        results = pipeline | beam.Create([1]) | GatherResults()
        assert_that(results, equal_to([Results([1], {}, {})]))
