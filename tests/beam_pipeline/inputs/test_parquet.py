"""Pictures in Parquet files, in the layouts of Hugging Face datasets and of plain columns."""

import os
import random
import signal
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.inputs import parquet as parquet_files
from beam_pipeline.inputs.containers import fingerprint, list_container, read_input
from beam_pipeline.inputs.input_file import TooLarge, UnreadableMember, locality_key
from beam_pipeline.inputs.sources import stat_file
from training.files import open_regular

MAX_BYTES = 1 << 20


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


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


def test_large_row_groups_are_read_row_by_row(tmp_path):
    pictures = [b"%d" % row + bytes(1 << 20) for row in range(70)]
    pq.write_table(pa.table({"image": pictures, "note": [noise(100) for _ in pictures]}), tmp_path / "a.parquet")
    files, _ = listed(tmp_path / "a.parquet")
    for row in (0, 1, 69, 40, 41):
        assert read_input(files[row], 2 << 20) == pictures[row]


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


def problem_of(path) -> str:
    ((file,), _) = listed(path)
    assert "\n" not in file.problem
    return file.problem


NESTED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param([("photo.jpg", [{"bytes": b"x", "path": "p"}], NESTED)], "0/p", id="a name with a dot"),
        pytest.param([("image", [7], pa.int64()), ("image", [b"x"], pa.binary())], "0", id="two columns of one name"),
        pytest.param([("image", [b"x"], pa.binary())] * 2, "0", id="twice the same column"),
        pytest.param([("image", [7], pa.int64()), ("photo", [{"bytes": b"x"}], NESTED)], "0", id="numbers as image"),
        pytest.param([("deep", [[{"a": {"b": 1}}]], None), ("image", [b"x"], pa.binary())], "0", id="nested ones"),
        pytest.param([("m", [[("k", "v")]], pa.map_(pa.string(), pa.string())), ("jpg", [b"x"], None)], "0", id="map"),
        pytest.param([("image", [b"x"], pa.dictionary(pa.int8(), pa.binary()))], "0", id="a dictionary"),
        pytest.param([("image", [b"x"], pa.binary()), ("caption", [7], pa.int64())], "0", id="numbers as captions"),
        pytest.param([("image", [b"x"], pa.binary(1))], "0", id="bytes of a fixed size"),
    ],
)
def test_columns_of_any_name_and_kind_are_found_by_place(tmp_path, columns, expected):
    arrays = [pa.array(values, kind) for _, values, kind in columns]
    pq.write_table(pa.Table.from_arrays(arrays, [name for name, _, _ in columns]), tmp_path / "a.parquet")
    ((file,), ignored) = listed(tmp_path / "a.parquet")
    assert (file.uri.removeprefix(f"{tmp_path}/a.parquet!/"), file.problem) == (expected, "")
    assert (read_input(file, MAX_BYTES), file.captions, ignored) == (b"x", (), {})


@pytest.mark.parametrize(
    ("values", "kind"),
    [([7], pa.int64()), ([{"bytes": 7}], pa.struct([("bytes", pa.int64())])), ([["x"]], pa.list_(pa.string()))],
)
def test_a_column_image_of_something_else_is_one_line(tmp_path, values, kind):
    pq.write_table(pa.table({"image": pa.array(values, kind)}), tmp_path / "a.parquet")
    assert problem_of(tmp_path / "a.parquet") == "no column with pictures among image"


def test_text_that_is_not_utf8_is_read(tmp_path):
    table = pa.table({"image": [b"x"], "caption": pa.array([b"caf\xe9"]).view(pa.string())})
    pq.write_table(table, tmp_path / "a.parquet")
    ((file,), _) = listed(tmp_path / "a.parquet")
    assert file.captions == ("caf\ufffd",)


def test_pictures_that_unpack_to_gigabytes_cost_their_rows_only(tmp_path):
    """A dictionary of one value of 5 MB, and 2,000 rows that name it: 10 GB out of some kilobytes on disk."""
    path = tmp_path / "a.parquet"
    picture = b"a" * (5 << 20)
    pictures = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array([picture]))
    table = pa.table({"image": pictures, "note": [b"%d" % row for row in range(2000)]})
    pq.write_table(table, path, compression="zstd", store_schema=False)
    files, _ = listed(path)
    assert len(files) == 2000
    with pytest.raises(TooLarge):
        read_input(files[0], MAX_BYTES)
    assert read_input(files[7], 8 << 20) == picture
    for file in files[1000:]:
        with pytest.raises(UnreadableMember, match="the rows before it unpack to too much for the size of the file"):
            read_input(file, 8 << 20)


def test_captions_that_unpack_to_gigabytes_are_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["a " * (2 << 20)]))
    pq.write_table(pa.table({"image": [b"x"] * 2000, "caption": text}), path, compression="zstd", store_schema=False)
    files, ignored = listed(path)
    assert [file.uri for file in files] == [str(path)]
    assert files[0].problem.startswith("not a Parquet file, or damaged (")
    assert ignored == {"member": 2000}


def test_a_caption_that_is_a_book_is_left_out_and_counted(tmp_path):
    table = pa.table({"image": [b"x"] * 2, "caption": ["a dog", "word " * 20_000]})
    pq.write_table(table, tmp_path / "a.parquet")
    files, ignored = listed(tmp_path / "a.parquet")
    assert [file.captions for file in files] == [("a dog",), ()]
    assert ignored == {"caption": 1}


def test_more_rows_than_bytes_are_not_believed(tmp_path):
    """Rows without anything in them take no place at all."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array([None] * 1_000_000, pa.binary())}), path)
    assert problem_of(path) == "not a Parquet file, or damaged (its footer claims 1,000,000 rows in 1 row group)"


def test_every_cut_and_changed_byte_is_listed_or_named(tmp_path):
    path = hugging_face(tmp_path / "whole.parquet", caption=["a dog"] * 5)
    whole = path.read_bytes()
    damaged = tmp_path / "a.parquet"
    for length in range(0, len(whole), 197):
        damaged.write_bytes(whole[:length])
        assert "not a Parquet file, or damaged" in problem_of(damaged)
    said = []
    for place in range(0, len(whole), 29):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        damaged.write_bytes(changed)
        os.utime(damaged, (place, place))
        files, _ = listed(damaged)
        assert files
        for file in files:
            if not file.problem:
                try:
                    read_input(file, MAX_BYTES)
                except OSError as error:
                    said.append(str(error))
    assert said and "\n" not in "".join(said)


def test_a_reader_that_dies_costs_one_line_and_is_replaced(tmp_path):
    files, _ = listed(hugging_face(tmp_path / "a.parquet"))
    os.kill(parquet_files._process.pid, signal.SIGKILL)
    with pytest.raises(UnreadableMember, match="crashes its reader"):
        read_input(files[0], MAX_BYTES)
    assert read_input(files[2], MAX_BYTES) == b"picture 2"


def test_a_file_elsewhere_is_read_by_pieces(tmp_path, monkeypatch):
    """The process has no credentials: what it needs of a remote file it is given."""
    path = hugging_face(tmp_path / "a.parquet", caption=["a dog"] * 5)
    expected, _ = listed(path)
    monkeypatch.setattr(parquet_files.storage, "is_local", lambda path: False)
    asked = []
    monkeypatch.setattr(parquet_files.storage, "open_file", lambda path: asked.append(path) or open_regular(path))
    found = list(parquet_files.list_parquet(stat_file(str(path)), Counter()))
    assert found == expected
    assert [read_input(file, MAX_BYTES) for file in found] == [b"picture %d" % row for row in range(5)]
    assert set(asked) == {str(path)}
