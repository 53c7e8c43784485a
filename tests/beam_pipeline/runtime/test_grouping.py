import errno
import os
import pickle
import tempfile
import zlib
from collections import defaultdict
from pathlib import Path
from unittest.mock import Mock

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime import grouping
from beam_pipeline.runtime.grouping import (
    CoGroupInBuckets,
    Pack,
    Packer,
    PackIntoBuckets,
    any_bucket,
    group_bucket,
    unpack,
)
from training.errors import JobFailed

KEYED = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers()))


def packer(*options):
    return Packer(beam.Pipeline(options=PipelineOptions(list(options))))


IN_MEMORY = packer()


def packed_all(do_fn, elements):
    """What a DoFn gives for one bundle."""
    do_fn.start_bundle()
    outputs = [output for element in elements for output in do_fn.process(element) or ()]
    return outputs + [windowed.value for windowed in do_fn.finish_bundle()]


@given(files=KEYED, lines=KEYED)
def test_every_value_comes_with_its_key_once(files, lines):
    expected = defaultdict(lambda: {"files": [], "lines": []})
    blocks = defaultdict(list)
    for tag, keyed in (("files", files), ("lines", lines)):
        for key, value in keyed:
            expected[key][tag].append(value)
        for bucket, block in packed_all(
            PackIntoBuckets(tag, lambda key, buckets: ord(key) % buckets, 3, IN_MEMORY), keyed
        ):
            blocks[bucket].append(block)
    found = {}
    for bucket, of_bucket in blocks.items():
        groups = list(group_bucket((bucket, of_bucket), ("files", "lines")))
        keys = [key for key, _ in groups]
        assert keys == sorted(set(keys))
        assert all(ord(key) % 3 == bucket for key in keys)
        assert not found.keys() & set(keys)
        found |= dict(groups)
    assert found == expected


@pytest.mark.parametrize("number", [0, 1, 5, 6, 14])
def test_no_more_are_held_than_may_be(monkeypatch, number):
    monkeypatch.setattr(grouping, "_HELD", 5)
    blocks = packed_all(Pack(IN_MEMORY), range(number))
    assert [len(unpack(block)) for block in blocks] == [5] * (number // 5) + [number % 5] * bool(number % 5)
    assert [element for block in blocks for element in unpack(block)] == list(range(number))
    keyed = packed_all(
        PackIntoBuckets("x", lambda key, buckets: key % buckets, 2, IN_MEMORY), [(key, None) for key in range(number)]
    )
    assert sorted(element[0] for _, block in keyed for element in unpack(block)) == list(range(number))
    assert len(keyed) >= number / 5


def test_a_block_of_like_elements_is_small():
    addresses = [f"/collection/of/pictures/{number:08d}.jpg" for number in range(1000)]
    (block,) = IN_MEMORY.pack([addresses])
    assert len(block) < 1000 * 10
    assert unpack(block) == addresses


def test_blocks_wait_in_files_where_there_is_a_directory_for_them(tmp_path):
    lists = [["a"], ["b", "c"], []]
    blocks = packer(f"--spill_directory={tmp_path}").pack(lists)
    assert [unpack(block) for block in blocks] == lists
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size == sum(block.size for block in blocks)
    assert packer(f"--spill_directory={tmp_path}").pack([]) == []
    assert os.listdir(tmp_path) == [file.name]


def test_a_disk_without_room_for_what_waits_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "mkstemp", Mock(side_effect=OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))))
    with pytest.raises(JobFailed, match=f"{tmp_path}: cannot be written .*quota.*; make room and run again: what is"):
        packer(f"--spill_directory={tmp_path}").pack([["a"]])


@given(st.one_of(st.text(), st.binary()), st.integers(1, 1000))
def test_every_key_has_a_bucket(key, buckets):
    assert 0 <= any_bucket(key, buckets) < buckets


@pytest.mark.parametrize("spill", [False, True])
def test_in_a_pipeline(spill, tmp_path, local_pipeline):
    def check(groups):
        assert sorted(groups) == [(b"a", {"x": [1, 3], "y": []}), (b"b", {"x": [2], "y": [4]})]

    options = PipelineOptions(["--buckets=3", *([f"--spill_directory={tmp_path}"] if spill else [])])
    with local_pipeline(options=options) as pipeline:
        x = pipeline | "X" >> beam.Create([(b"a", 1), (b"b", 2), (b"a", 3)])
        y = pipeline | "Y" >> beam.Create([(b"b", 4)])
        grouped = {"x": x, "y": y} | CoGroupInBuckets()
        assert_that(
            grouped | beam.Map(lambda group: (group[0], {tag: sorted(v) for tag, v in group[1].items()})), check
        )
    assert len(os.listdir(tmp_path)) == 2 * spill


class Hostile:
    """Does harm when it is unpickled."""

    def __reduce__(self):
        return open, ("harm", "w")


def test_a_block_that_somebody_has_changed_is_not_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = packer(f"--spill_directory={tmp_path}").pack([["a"]])
    data = zlib.compress(pickle.dumps(Hostile()))
    Path(block.path).write_bytes(data)
    with pytest.raises(JobFailed, match="changed while the job ran; something else writes there: run again"):
        unpack(block._replace(size=len(data)))
    assert not (tmp_path / "harm").exists()
    Path(block.path).unlink()
    with pytest.raises(JobFailed, match="no such file or directory; something else removes files there: run again"):
        unpack(block)
