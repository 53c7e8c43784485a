"""Where captioning begins with features: which shards are left, and how their inputs are counted."""

from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.caption_features import (
    CaptionFeatureShard,
    CountInputs,
    count_newest_line,
    lines_of_shard,
    pictures_left,
)
from beam_pipeline.shards.ledger import LedgerLine
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.output_directory import commit_shard, read_standing
from beam_pipeline.shards.planning import shard_key
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_set import EncoderIdentity, FeatureSet, Shard
from training.errors import UserError

ENCODER = EncoderIdentity("InceptionV3", "tensorflow", "ab" * 32, "w.h5", 299, "area", "float32", "pooled", "mixed9")
OLD, NEW = ShardId(1, 0, 1), ShardId(2, 0, 1)


def line(uri: str, outcome: str) -> LedgerLine:
    return LedgerLine(uri, 1, 1.0, "aa", outcome)


def test_pictures_of_uncaptioned_shards_are_left(tmp_path):
    features = FeatureSet("f", ENCODER, tuple(Shard(shard.features(), 5, 0, 1, "") for shard in (OLD, NEW)))
    assert pictures_left(features, read_standing(str(tmp_path))) == 10
    commit_shard(str(tmp_path), OLD, [])
    assert pictures_left(features, read_standing(str(tmp_path))) == 5


def test_a_ledger_that_changed_is_named_and_not_copied(tmp_path):
    digest = commit_shard(str(tmp_path), OLD, [line("/a", "rejected")])
    features = FeatureSet(str(tmp_path), ENCODER, (Shard(OLD.features(), 0, 0, 0, "", digest),))
    ledger = tmp_path / OLD.ledger()
    ledger.write_bytes(ledger.read_bytes().replace(b"/a", b"/b"))
    output = tmp_path / "captions"
    with pytest.raises(UserError, match=f"{OLD.ledger()}: changed since it was written"):
        CaptionFeatureShard(SimpleNamespace(load=None), features, str(output), LiveCounts()).make(shard_key(OLD))
    assert not output.exists()


def test_lines_come_with_their_ledger_and_whether_they_are_new(tmp_path):
    commit_shard(str(tmp_path), OLD, [line("/a", "done")])
    assert list(lines_of_shard((shard_key(OLD), True), str(tmp_path))) == [(b"/a", (OLD.ledger(), True, "done"))]


def test_the_newest_line_counts(split_outputs):
    group = (b"/a", {"lines": [("ledger-0001", False, "rejected"), ("ledger-0002", True, "done")]})
    assert split_outputs(count_newest_line(group)) == ([], {"listed": 1, "done": 1}, [])
    earlier = (b"/a", {"lines": [("ledger-0001", False, "rejected")]})
    assert split_outputs(count_newest_line(earlier)) == ([], {"listed": 1, "earlier_rejected": 1}, [])


def test_each_input_is_counted_once(tmp_path, local_pipeline):
    commit_shard(str(tmp_path), OLD, [line("/a", "rejected"), line("/b", "done")])
    commit_shard(str(tmp_path), NEW, [line("/a", "done"), line("/c", "duplicate")])
    with local_pipeline() as pipeline:
        shards = tuple(pipeline | str(shard.run) >> beam.Create([shard_key(shard)]) for shard in (OLD, NEW))
        counted = shards | CountInputs(str(tmp_path))
        assert_that(
            counted.counts | beam.Flatten() | beam.CombinePerKey(sum),
            equal_to([("listed", 3), ("done", 1), ("duplicate", 1), ("earlier_done", 1)]),
        )
