import os

import numpy as np
import pytest
import tensorflow as tf

from beam_pipeline.shards.feature_shard import read_feature_shard
from training.data.feature_records import FeatureRecord, serialize
from training.errors import JobFailed, UserError


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "features-0001-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in "ab":
            writer.write(serialize(FeatureRecord(name * 64, (name,), 4, 3, np.ones(2048, np.float16), ("a dog",))))
    return path


def test_records_come_in_order(shard):
    assert [record.sha256[0] for record in read_feature_shard(str(shard))] == ["a", "b"]


def test_a_shard_without_file_has_no_records(tmp_path):
    assert list(read_feature_shard(str(tmp_path / "none"))) == []


def test_damage_is_named(shard):
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(JobFailed, match=f"^{shard}: damaged shard"):
        list(read_feature_shard(str(shard)))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nothing", path)])
def test_what_is_no_file_is_named(tmp_path, make):
    path = str(tmp_path / "features-0001-00000-of-00001.tfrecord")
    make(path)
    with pytest.raises(UserError, match=f"^{path}: a "):
        list(read_feature_shard(path))
