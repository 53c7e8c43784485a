"""Pictures in TFRecord files of tf.train.Example."""

import os
from collections import Counter

import pytest
import tensorflow as tf

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.input_file import UnreadableMember
from beam_pipeline.inputs.sources import stat_file

MAX_BYTES = 1 << 20


def listed(path) -> tuple[list, Counter]:
    ignored = Counter()
    return list(list_container(stat_file(str(path)), ignored)), +ignored


def example(**fields: str | bytes) -> bytes:
    def feature(value):
        data = value.encode() if isinstance(value, str) else value
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))

    named = {name.replace("__", "/"): feature(value) for name, value in fields.items()}
    named["width"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[64]))
    return tf.train.Example(features=tf.train.Features(feature=named)).SerializeToString()


def write_tfrecord(path, records, options=None):
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)
    return path


def test_records_are_inputs(tmp_path):
    path = write_tfrecord(
        tmp_path / "00000.tfrecord",
        [
            example(key="000000001", jpg=b"first", caption="a  dog", url="http://x"),
            example(key="000000002", caption="could not be downloaded"),
            example(image__encoded=b"second", image__filename="b.png", image__caption="a cat"),
            example(image__encoded=b"third"),
        ],
    )
    files, ignored = listed(path)
    assert [file.uri.removeprefix(f"{path}!/") for file in files] == ["000000001.jpg", "b.png", "3"]
    assert [read_input(file, MAX_BYTES) for file in files] == [b"first", b"second", b"third"]
    assert [(file.size, file.captions) for file in files] == [(5, ("a dog",)), (6, ("a cat",)), (5, ())]
    assert ignored == {"other": 1}


CUT = "damaged after 2 records, the rest is not read (it ends within a record)"


def test_a_cut_tfrecord_loses_only_what_is_cut(tmp_path):
    path = write_tfrecord(tmp_path / "a.tfrecord", [example(key=str(n), jpg=b"x" * 100) for n in range(3)])
    os.truncate(path, path.stat().st_size - 10)
    files, _ = listed(path)
    assert [file.problem for file in files] == ["", "", CUT]


def test_a_compressed_tfrecord_says_what_to_do(tmp_path):
    path = write_tfrecord(tmp_path / "a.tfrecord", [example(jpg=b"x")], "GZIP")
    ((file,), _) = listed(path)
    assert file.problem.startswith("no TFRecord file of tf.train.Example, or a compressed one")


def test_records_of_another_kind_say_so(tmp_path):
    ((file,), _) = listed(write_tfrecord(tmp_path / "a.tfrecord", [b"\xff\xff\xff\xff"]))
    assert "a record that is no tf.train.Example" in file.problem


def test_a_file_that_is_shorter_now_loses_the_record(tmp_path):
    path = write_tfrecord(tmp_path / "a.tfrecord", [example(jpg=b"x" * 100)])
    ((file,), _) = listed(path)
    os.truncate(path, 50)
    with pytest.raises(UnreadableMember, match="a record that is no"):
        read_input(file, MAX_BYTES)
