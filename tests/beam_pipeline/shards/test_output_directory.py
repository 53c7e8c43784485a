"""The lock of an output directory, what stands in it, and the commit of a shard."""

import os

import pytest

from beam_pipeline.shards.ledger import LedgerLine, read_ledger
from beam_pipeline.shards.output_directory import Standing, commit_shard, exclusive, read_standing, without_lost
from beam_pipeline.shards.shard_id import ShardId, UnfinishedRun
from training.errors import JobFailed


def test_one_run_at_a_time(tmp_path):
    refused = pytest.raises(JobFailed, match="another captionbeam is writing here")
    with exclusive(str(tmp_path / "out")), refused, exclusive(str(tmp_path / "out")):
        pass
    with exclusive(str(tmp_path / "out")):
        pass


def test_half_written_files_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".captionbeam-0123456789abcdef.tmp").write_bytes(b"half")
    with exclusive(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == [".lock"]


def test_the_ledgers_tell_what_is_done_and_what_is_missing(tmp_path):
    for shard in (ShardId(1, 0, 3), ShardId(1, 2, 3), ShardId(2, 0, 1)):
        (tmp_path / shard.ledger()).write_bytes(b"")
    (tmp_path / ShardId(1, 1, 3).features()).write_bytes(b"without a ledger")
    assert read_standing(str(tmp_path)) == Standing(
        committed=(ShardId(1, 0, 3), ShardId(1, 2, 3), ShardId(2, 0, 1)),
        unfinished=(UnfinishedRun(1, 3, frozenset({1})),),
        next_run=3,
        ledgers=tuple(
            str(tmp_path / f"ledger-{name}.jsonl")
            for name in ("0001-00000-of-00003", "0001-00002-of-00003", "0002-00000-of-00001")
        ),
    )


def test_a_directory_that_is_not_there_holds_nothing(tmp_path):
    assert read_standing(str(tmp_path / "none")) == Standing((), (), 1, ())


def test_a_ledger_is_sorted_by_uri(tmp_path):
    first, second = (LedgerLine(uri, 1, 1.0, "aa", "done") for uri in ("/a", "/b"))
    commit_shard(str(tmp_path), ShardId(1, 0, 1), [second, first])
    assert list(read_ledger(str(tmp_path / ShardId(1, 0, 1).ledger()))) == [first, second]


@pytest.mark.parametrize(
    ("stored", "left"),
    [({}, ["/rejected"]), ({1: ["0" * 64]}, ["/rejected"]), ({2: ["0" * 64]}, None)],
    ids=["nowhere", "as another content", "in the later run"],
)
def test_files_of_a_lost_shard_that_later_runs_found_are_forgotten(tmp_path, stored, left):
    """Those of contents that no shard holds; a touched file is called done by a run that does not hold its picture."""
    kept = LedgerLine("/kept", 1, 1.0, "f" * 64, "duplicate")  # of a shard that is there
    lost = LedgerLine("/lost", 1, 1.0, "0" * 64, "done")
    rejected = LedgerLine("/rejected", 1, 1.0, "0" * 64, "rejected", "read", "changed")
    commit_shard(str(tmp_path), ShardId(1, 1, 2), [])
    commit_shard(str(tmp_path), ShardId(2, 0, 1), [kept, lost, rejected])

    def contents(shard, _):
        return stored.get(shard.run, [])

    ledgers = without_lost(str(tmp_path), read_standing(str(tmp_path)), contents)
    found = {shard: [line.uri for line in lines] for shard, lines in ledgers.items()}
    assert found == ({ShardId(2, 0, 1): ["/kept", *left]} if left else {})


def test_an_unfinished_last_run_has_lost_nothing(tmp_path):
    commit_shard(str(tmp_path), ShardId(1, 1, 2), [LedgerLine("/a", 1, 1.0, "0" * 64, "duplicate")])
    assert without_lost(str(tmp_path), read_standing(str(tmp_path)), lambda shard, _: []) == {}
