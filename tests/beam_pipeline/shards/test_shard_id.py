import hashlib

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.shards.shard_id import (
    ShardId,
    assign_shard,
    committed_shards,
    new_run,
    parse_shard,
    shard_count,
    unfinished_runs,
)

counts = st.integers(1, 400)


@st.composite
def shard_ids(draw):
    count = draw(counts)
    return ShardId(draw(st.integers(1, 20000)), draw(st.integers(0, count - 1)), count)


@given(shard_ids())
def test_file_names_carry_the_shard(shard):
    assert parse_shard(shard.features(), "features") == shard
    assert parse_shard(shard.ledger(), "ledger") == shard
    assert parse_shard(shard.features(), "ledger") is None


def test_the_ledger_alone_commits_a_shard():
    names = [
        "features-0001-00000-of-00002.tfrecord",
        "ledger-0001-00001-of-00002.jsonl",
        "manifest.json",
        ".tmp-ledger-0001-x",
    ]
    assert committed_shards(names) == [ShardId(1, 1, 2)]


def test_unfinished_runs_know_what_they_lack():
    committed = [ShardId(1, 0, 3), ShardId(1, 2, 3), ShardId(2, 0, 1)]
    (run,) = unfinished_runs(committed)
    assert (run.run, run.count, run.missing) == (1, 3, {1})
    assert new_run(committed) == 3
    assert new_run([]) == 1


@given(st.lists(st.integers(0, 6)), st.binary())
def test_a_picture_goes_to_the_missing_shard_of_its_content(missing, content):
    sha256 = hashlib.sha256(content).hexdigest()
    committed = [ShardId(1, index, 7) for index in range(7) if index not in missing]
    shard = assign_shard(sha256, unfinished_runs(committed))
    home = ShardId(1, int(sha256, 16) * 7 >> 256, 7)
    # A run without any ledger left is no run: its pictures form it anew.
    assert shard == (home if committed and home not in committed else None)


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_shards_hold_the_asked_number_on_average_at_most(pictures, size):
    shards = shard_count(pictures, size)
    assert shards * size >= pictures > (shards - 1) * size or shards == pictures == 0
