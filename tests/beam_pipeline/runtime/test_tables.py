import contextlib
import csv
import io

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.tables import Column, escape_cell, read_parquet, to_csv, to_parquet, unescape_cell

NAMES = ["=1+2.jpg", "+a.jpg", "-1.jpg", "@x.jpg", 'a,"b".jpg', "new\nline.jpg", "'quoted", "ü 犬.jpg"]
NAMES += ["＝1+2", "＋1", "－1", "＠x", "﹦1"]  # the same characters in other widths
COLUMNS = (Column("word", "string"), Column("n", "int64"), Column("z", "float64", 2), Column("stop", "bool"))


@pytest.fixture
def read_back(tmp_path):
    """Content of a Parquet file -> its rows."""

    def read_back(data: bytes):
        (tmp_path / "table.parquet").write_bytes(data)
        return read_parquet(str(tmp_path / "table.parquet"))

    return read_back


def rows_of(names):
    return [{"word": name, "n": 3, "z": -0.001, "stop": True} for name in names]


def test_no_text_cell_runs_in_a_spreadsheet_and_the_text_comes_back():
    read = list(csv.DictReader(io.StringIO(to_csv(COLUMNS, rows_of(NAMES)).decode())))
    assert len(read) == len(NAMES)
    assert all(row["word"][0] in "'anü" for row in read)
    assert [unescape_cell(row["word"]) for row in read] == NAMES


@given(st.text())
def test_escaping_is_reversible(text):
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_csv_has_rounded_numbers_and_empty_cells():
    rows = [{"word": "a", "n": 3, "z": -0.001, "stop": False}, {"word": None, "n": None, "z": 2.345, "stop": None}]
    assert to_csv(COLUMNS, rows).decode() == "word,n,z,stop\na,3,0.00,0\n,,2.35,\n"


def test_parquet_keeps_names_and_numbers_exactly(read_back):
    rows = [*rows_of(NAMES), {"word": None, "n": None, "z": None, "stop": None}]
    assert read_back(to_parquet(COLUMNS, rows)) == rows


def test_a_name_that_is_not_utf_8_is_spelt_out_in_parquet(read_back):
    assert read_back(to_parquet(COLUMNS[:1], [{"word": "caf\udce9.jpg"}])) == [{"word": "caf\\udce9.jpg"}]


def test_no_rows_are_an_empty_table_with_its_columns(read_back):
    assert to_csv(COLUMNS, []).decode() == "word,n,z,stop\n"
    assert read_back(to_parquet(COLUMNS, [])) == []


def test_what_unpacks_to_gigabytes_is_refused(read_back):
    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 50_000, pyarrow.int32()), ["a" * (1 << 20)])
    for column in (text, pyarrow.nulls(5_000_000, pyarrow.bool_())):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"word": column}), buffer, compression="zstd", store_schema=False)
        assert len(buffer.getvalue()) < 20_000
        with pytest.raises(ValueError, match=r"it unpacks to more than|does not fit in memory"):
            read_back(buffer.getvalue())


def test_every_cut_and_changed_byte_is_read_or_refused(read_back):
    whole = to_parquet(COLUMNS, rows_of(NAMES))
    for place in range(0, len(whole), 499):
        changed = bytearray(whole)
        changed[place] ^= 0x41
        for data in (whole[:place], bytes(changed)):
            with contextlib.suppress(ValueError):
                read_back(data)
