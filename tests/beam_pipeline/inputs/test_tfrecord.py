"""Pictures in TFRecord files of tf.train.Example."""

import contextlib
import os
import struct
import tracemalloc
from collections import Counter

import google_crc32c
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.inputs.containers import list_container, read_input
from beam_pipeline.inputs.input_file import UnreadableMember
from beam_pipeline.inputs.sources import stat_file
from beam_pipeline.inputs.tfrecord import _features

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


def test_a_caption_that_is_a_book_is_left_out_and_counted(tmp_path):
    record = example(jpg=b"x", caption="word " * 20_000, text="a dog")
    ((file,), ignored) = listed(write_tfrecord(tmp_path / "a.tfrecord", [record]))
    assert (file.captions, ignored) == (("a dog",), {"caption": 1})


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
    with pytest.raises(UnreadableMember, match="its checksum differs"):
        read_input(file, MAX_BYTES)


def test_a_damaged_record_costs_that_record_only(tmp_path):
    path = write_tfrecord(tmp_path / "a.tfrecord", [example(key=str(n), jpg=b"x" * 100) for n in range(4)])
    data = bytearray(path.read_bytes())
    length = len(data) // 4
    data[50] ^= 1
    data[length * 2 + 60] ^= 1
    path.write_bytes(data)
    files, ignored = listed(path)
    assert [file.uri.removeprefix(f"{path}!/") for file in files] == ["0", "1.jpg", "2", "3.jpg"]
    assert [file.problem for file in files] == ["damaged in the archive: its checksum differs", ""] * 2
    assert ignored == {}
    sound = files[1]
    data[length + 70] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableMember, match="its checksum differs"):
        read_input(sound, MAX_BYTES)


def test_a_record_of_another_kind_among_others_costs_that_record_only(tmp_path):
    files, _ = listed(write_tfrecord(tmp_path / "a.tfrecord", [example(jpg=b"a"), b"\xff" * 9, example(jpg=b"b")]))
    assert [file.problem for file in files] == ["", "a record that is no tf.train.Example", ""]


def with_size(size: int) -> bytes:
    """A TFRecord's first record, which claims a size, with the right checksum of that."""
    crc = google_crc32c.value(struct.pack("<Q", size))
    return struct.pack("<QI", size, ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (with_size(1 << 60) + bytes(100), "a record of 1,152,921,504,606,846,976 bytes"),
        (with_size((1 << 64) - 1) + bytes(100), "a record of 18,446,744,073,709,551,615 bytes"),
        (with_size(1 << 28) + bytes(100), "it ends within a record"),
        (with_size(5)[:-1] + b"?" + bytes(100), "the size of a record has a wrong checksum"),
        (with_size(5)[:7], "it ends within a record"),
    ],
)
def test_a_size_is_checked_before_it_is_believed(tmp_path, data, problem):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(data)
    tracemalloc.start()
    ((file,), _) = listed(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.problem == f"no TFRecord file of tf.train.Example, or a compressed one ({problem})"
    assert peak < 1 << 20


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds bytes, shorter than 2^21."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


def nested(depth: int) -> bytes:
    message = b""
    for _ in range(depth):
        message = field(1, message)
    return message


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        pytest.param(field(1, field(1, b"")) * 200_000, "a record of more than 100,000 fields", id="many features"),
        pytest.param(
            field(1, field(1, field(1, b"jpg") + field(2, field(1, b"\n\0" * 200_000)))), "fields", id="values"
        ),
        pytest.param(nested(1000), "", id="deep"),
        pytest.param(b"\x80" * 50, "no tf.train.Example", id="a number without end"),
        pytest.param(b"\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "no tf.train.Example", id="2^64 bytes"),
        pytest.param(b"\x0b\x0c", "no tf.train.Example", id="a group"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_examples_that_are_none_are_bounded(tmp_path, record, problem):
    files, ignored = listed(write_tfrecord(tmp_path / "a.tfrecord", [record]))
    if problem:
        assert problem in files[0].problem
    else:
        assert (files, ignored) == ([], {"other": 1})


@given(
    st.dictionaries(
        st.sampled_from(["jpg", "key", "caption", "image/encoded", "other"]), st.lists(st.binary(), max_size=3)
    ),
    st.lists(st.integers(-5, 5)),
)
def test_fields_are_those_that_tensorflow_reads(fields, numbers):
    features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)) for name, values in fields.items()}
    features["n"] = tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
    features["text"] = tf.train.Feature(float_list=tf.train.FloatList(value=numbers))
    record = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    expected = {name: values for name, values in fields.items() if values and name != "other"}
    assert _features(record) == expected


@given(st.binary())
def test_any_bytes_are_an_example_or_none(record):
    with contextlib.suppress(UnreadableMember):
        _features(record)


def test_every_cut_and_changed_byte_is_listed_or_named(tmp_path):
    path = tmp_path / "a.tfrecord"
    whole = write_tfrecord(path, [example(key=str(n), jpg=b"x" * 9) for n in range(2)]).read_bytes()
    for place in range(1, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        files, _ = listed(path)
        assert [file for file in files if file.problem], place
        if place != len(whole) // 2:
            path.write_bytes(whole[:place])
            assert listed(path)[0][-1].problem, place
