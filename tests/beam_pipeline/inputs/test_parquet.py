"""Pictures in Parquet files, in the layouts of Hugging Face datasets and of plain columns."""

import os
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.inputs import parquet as parquet_files
from beam_pipeline.inputs.containers import fingerprint, list_container, read_input
from beam_pipeline.inputs.input_file import TooLarge, UnreadableMember, locality_key
from beam_pipeline.inputs.sources import stat_file

MAX_BYTES = 1 << 20


def listed(path) -> tuple[list, Counter]:
    ignored = Counter()
    return list(list_container(stat_file(str(path)), ignored)), +ignored


def hugging_face(path, rows: int = 5, **columns):
    """The layout of `datasets`: image as struct {bytes, path}; rows of one row group are two."""
    pictures = [{"bytes": b"picture %d" % row, "path": f"{row}.jpg" if row else None} for row in range(rows)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"label": list(range(rows)), "image": pa.array(pictures, kind), **columns})
    pq.write_table(table, path, row_group_size=2)
    return path


def test_rows_of_a_parquet_file_are_inputs(tmp_path):
    path = hugging_face(tmp_path / "a.parquet", text=["a dog", " ", None, "a\ncat", "x"], caption=["a dog"] * 5)
    files, _ = listed(path)
    assert [file.uri.removeprefix(f"{path}!/") for file in files] == ["0", "1/1.jpg", "2/2.jpg", "3/3.jpg", "4/4.jpg"]
    assert [read_input(file, MAX_BYTES) for file in files] == [b"picture %d" % row for row in range(5)]
    assert [file.captions for file in files] == [
        ("a dog",),
        ("a dog",),
        ("a dog",),
        ("a dog", "a cat"),
        ("a dog", "x"),
    ]
    assert {(file.size, file.mtime) for file in files} == {(path.stat().st_size, path.stat().st_mtime)}


@pytest.mark.parametrize(("column", "kind"), [("image", pa.binary()), ("jpg", pa.large_binary())])
def test_plain_columns_of_bytes_are_known(tmp_path, column, kind):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({column: pa.array([b"x", b"y"], kind), "captions": [["a", "b"], []]}), path)
    files, _ = listed(path)
    assert [file.uri.removeprefix(f"{path}!/") for file in files] == ["0", "1"]
    assert [read_input(file, MAX_BYTES) for file in files] == [b"x", b"y"]
    assert [file.captions for file in files] == [("a", "b"), ()]


def test_large_row_groups_are_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "_LARGEST_GROUP", 10)
    parquet_files._row_group.cache_clear()
    files, _ = listed(hugging_face(tmp_path / "large.parquet", rows=40))
    assert [read_input(file, MAX_BYTES) for file in files] == [b"picture %d" % row for row in range(40)]


def test_a_replaced_parquet_file_is_not_read_from_memory(tmp_path):
    path = hugging_face(tmp_path / "a.parquet")
    before, _ = listed(path)
    assert read_input(before[1], MAX_BYTES) == b"picture 1"
    pq.write_table(pa.table({"image": [b"another"] * 5}), path)
    os.utime(path, (1, 1))
    after, _ = listed(path)
    assert read_input(after[1], MAX_BYTES) == b"another"


def test_rows_without_a_picture_and_too_large_ones_say_so(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [None, bytes(2 * MAX_BYTES)]}), path)
    (missing, large), _ = listed(path)
    with pytest.raises(UnreadableMember, match="no picture in this row"):
        fingerprint(missing, MAX_BYTES)
    with pytest.raises(TooLarge):
        fingerprint(large, MAX_BYTES)


def test_a_table_without_pictures_names_its_columns(tmp_path):
    pq.write_table(pa.table({"url": ["x"], "n": [1]}), tmp_path / "a.parquet")
    ((file,), _) = listed(tmp_path / "a.parquet")
    assert file.problem == "no column with pictures among url, n"


def test_rows_of_a_row_group_are_neighbours(tmp_path):
    files, _ = listed(hugging_face(tmp_path / "a.parquet"))
    groups = [locality_key(file) for file in files]
    assert groups[0] == groups[1] != groups[2] == groups[3] != groups[4]
    plain = {locality_key(stat_file(f"/nowhere/{number}.jpg")) for number in range(100)}
    assert len(plain) > 90, "files are spread"
