import pytest
import tensorflow as tf

from training.data.tfrecords import checked, read_records
from training.errors import JobFailed

RECORDS = [b"first", b"", b"third" * 100]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def test_records_come_in_order(shard):
    assert list(read_records(str(shard))) == RECORDS


@pytest.mark.parametrize("place", [0, 8, 14, 40, -1])
def test_a_changed_byte_is_found_wherever_it_is(shard, place):
    data = bytearray(shard.read_bytes())
    data[place] ^= 1
    shard.write_bytes(data)
    with pytest.raises(JobFailed, match=f"^{shard}: damaged shard; run the same .captionbeam extract. command again"):
        list(read_records(str(shard)))


@pytest.mark.parametrize("size_bytes", [1, 4, 300])
def test_a_cut_end_is_found_after_the_whole_records(shard, tmp_path, size_bytes):
    shard.write_bytes(shard.read_bytes()[:-size_bytes])
    name = str(tmp_path / "features.tfrecord")  # the shard is a local copy of it
    reading = read_records(str(shard), name)
    assert [next(reading), next(reading)] == RECORDS[:2]
    with pytest.raises(JobFailed, match=f"^{name}: damaged shard"):
        next(reading)


def test_of_several_shards_the_damaged_one_is_named(shard, tmp_path):
    sound = tmp_path / "sound.tfrecord"
    sound.write_bytes(shard.read_bytes())
    shard.write_bytes(shard.read_bytes()[:-1])
    paths = [str(sound), str(shard)]
    with pytest.raises(JobFailed, match=f"^{shard}: damaged shard"):
        list(checked(tf.data.TFRecordDataset(paths), paths))
