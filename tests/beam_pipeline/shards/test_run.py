import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.runtime.runner import one_line, run_pipeline
from beam_pipeline.shards.balance import add_up, balance_in_words, check_balance
from beam_pipeline.shards.run import exclusive, standing
from beam_pipeline.shards.shard_id import ShardId
from training.errors import JobFailed, UserError


def test_one_run_at_a_time(tmp_path):
    refused = pytest.raises(JobFailed, match="another captionbeam is writing here")
    with exclusive(str(tmp_path / "out")), refused, exclusive(str(tmp_path / "out")):
        pass
    with exclusive(str(tmp_path / "out")):
        pass


def test_half_written_files_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".tmp-features-0001-00000-of-00001.tfrecord-abc").write_bytes(b"half")
    with exclusive(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == [".lock"]


def test_a_shard_that_is_not_whole_loses_its_ledger(tmp_path):
    for index in range(3):
        (tmp_path / ShardId(1, index, 3).ledger()).write_bytes(b"")
    state = standing(str(tmp_path), is_whole=lambda shard: shard.index != 1)
    assert state.committed == (ShardId(1, 0, 3), ShardId(1, 2, 3))
    assert [run.shards() for run in state.unfinished] == [[ShardId(1, 1, 3)]]
    assert not (tmp_path / ShardId(1, 1, 3).ledger()).exists()
    assert state.next_run == 2


def test_totals_join_earlier_and_new_outcomes():
    totals = add_up({"listed": 6, "done": 2, "earlier_done": 3, "rejected": 1, "ignored_shadow": 4})
    assert totals == {
        "listed": 6,
        "done": 5,
        "new_done": 2,
        "duplicate": 0,
        "new_duplicate": 0,
        "rejected": 1,
        "new_rejected": 1,
        "ignored_shadow": 4,
    }
    assert balance_in_words(totals).splitlines() == [
        "6 inputs = 5 done + 0 duplicate + 1 rejected (2 done in this run)",
        "4 shadow files (._NAME, Thumbs.db and the like) are not inputs",
    ]


def test_totals_that_do_not_add_up_fail_the_job():
    totals = add_up({"listed": 3, "done": 2})
    with pytest.raises(JobFailed, match="the ledger does not balance: 3 listed, 2 accounted for"):
        check_balance(totals, 1, "rejected.txt")


@pytest.mark.parametrize(("rejected", "fails"), [(10, False), (11, True)])
def test_the_reject_rate_is_a_limit(rejected, fails):
    totals = add_up({"listed": 100, "done": 100 - rejected, "rejected": rejected})
    if fails:
        with pytest.raises(JobFailed, match=r"11 of 100 inputs were rejected, over the limit of 10%.*rejected.txt"):
            check_balance(totals, 0.1, "rejected.txt")
    else:
        check_balance(totals, 0.1, "rejected.txt")


def test_nothing_listed_is_no_division_by_zero():
    check_balance(add_up({}), 0.1, "rejected.txt")


def _raise(error):
    raise error


@pytest.mark.parametrize("error", [UserError("--glove x: broken"), JobFailed("x: damaged shard")])
def test_a_workers_own_error_arrives_as_it_was_said(error, tmp_path):
    with pytest.raises(JobFailed) as raised:
        run_pipeline(
            lambda pipeline: pipeline | beam.Create([error]) | beam.Map(_raise), PipelineOptions([]), str(tmp_path)
        )
    assert str(raised.value) == str(error)


def test_a_portable_runners_text_is_cut_down_to_what_was_said():
    text = (
        "Traceback (most recent call last):\n  File x\ntraining.errors.JobFailed: a.tfrecord: damaged shard\n\nat java"
    )
    assert one_line(RuntimeError(text)) == "a.tfrecord: damaged shard"


def test_a_full_disk_is_named():
    assert one_line(RuntimeError("OSError: [Errno 28] No space left on device: '/x'\n")).startswith("the disk is full")


def test_an_unknown_error_keeps_its_trace_in_a_file():
    line = one_line(ZeroDivisionError("ZeroDivisionError: division by zero"))
    assert "\n" not in line
    path = line.split("details in ")[1].split(";")[0]
    with open(path) as file:
        assert "ZeroDivisionError" in file.read()
    os.remove(path)
