"""The manifest of a feature set, and what it says of the shards in the directory."""

import pytest

from beam_pipeline.shards.manifest import (
    damaged_shards,
    finish_manifest,
    read_manifest,
    split_by_manifest,
    write_manifest,
)
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_set import EncoderIdentity, FeatureSet, Shard
from training.errors import UserError

ENCODER = EncoderIdentity("InceptionV3", "tensorflow", "ab" * 32, "w.h5", 299, "area", "float32", "pooled", "mixed9")
FIRST, SECOND, THIRD = (ShardId(1, index, 3) for index in range(3))


def entry(shard: ShardId, captions: int = 0) -> Shard:
    return Shard(shard.features(), 2, captions, 40, "cd" * 32)


@pytest.fixture
def features(tmp_path):
    """Makes a FeatureSet whose manifest names the given shards; every file has its 4 bytes."""

    def features(*entries):
        for one in entries:
            (tmp_path / one.name).write_bytes(b"4" * 40)
        return FeatureSet(str(tmp_path), ENCODER, entries)

    return features


def test_a_manifest_is_read_as_it_was_written(features, tmp_path):
    assert read_manifest(str(tmp_path)) is None
    write_manifest(features(entry(FIRST)))
    assert read_manifest(str(tmp_path)) == features(entry(FIRST))


def test_a_manifest_that_is_not_json_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest.json: not JSON .*remove it and run the same `captionbeam"):
        read_manifest(str(tmp_path))


def test_a_finished_manifest_names_kept_and_new_shards_with_totals(features, tmp_path):
    results = Results([entry(THIRD), entry(FIRST)], {"listed": 4, "done": 3, "earlier_done": 1}, {"odd": ["x"]})
    finish_manifest(results, features(entry(SECOND)))
    finished = read_manifest(str(tmp_path))
    assert finished.shards == (entry(FIRST), entry(SECOND), entry(THIRD))
    assert (finished.totals["done"], finished.totals["new_done"], finished.notes) == (4, 3, {"odd": ["x"]})


def test_a_shard_of_another_size_is_damaged(features, tmp_path):
    manifest = features(entry(FIRST), entry(SECOND))
    assert damaged_shards([FIRST, SECOND, THIRD], manifest, False) == []
    (tmp_path / SECOND.features()).write_bytes(b"cut")
    assert damaged_shards([FIRST, SECOND, THIRD], manifest, False) == [SECOND]
    (tmp_path / FIRST.features()).unlink()
    assert damaged_shards([FIRST, SECOND, THIRD], manifest, False) == [FIRST, SECOND]
    assert damaged_shards([FIRST], None, False) == []


def test_captions_of_a_damaged_shard_are_not_lost(features, tmp_path):
    manifest = features(entry(FIRST, captions=5))
    (tmp_path / FIRST.features()).write_bytes(b"")
    with pytest.raises(UserError, match=f"{FIRST.features()} is damaged, and it held captions; give --captions again"):
        damaged_shards([FIRST], manifest, has_captions=False)
    assert damaged_shards([FIRST], manifest, has_captions=True) == [FIRST]


def test_committed_shards_that_no_manifest_names_are_told_apart(features):
    manifest = features(entry(FIRST), entry(SECOND))
    assert split_by_manifest([FIRST, THIRD], manifest) == ((entry(FIRST),), [THIRD])
    assert split_by_manifest([FIRST], None) == ((), [FIRST])
