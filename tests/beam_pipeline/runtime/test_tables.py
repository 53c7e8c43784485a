import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.tables import Column, escape_cell, read_parquet, to_csv, to_parquet, unescape_cell

NAMES = ["=1+2.jpg", "+a.jpg", "-1.jpg", "@x.jpg", 'a,"b".jpg', "new\nline.jpg", "'quoted", "ü 犬.jpg"]
NAMES += ["＝1+2", "＋1", "－1", "＠x", "﹦1"]  # the same characters in other widths
COLUMNS = (Column("word", "string"), Column("n", "int64"), Column("z", "float64", 2), Column("stop", "bool"))


def rows_of(names):
    return [{"word": name, "n": 3, "z": -0.001, "stop": True} for name in names]


def test_no_text_cell_runs_in_a_spreadsheet_and_the_text_comes_back():
    read = list(csv.DictReader(io.StringIO(to_csv(COLUMNS, rows_of(NAMES)).decode())))
    assert len(read) == len(NAMES)
    assert all(row["word"][0] in "'aü" for row in read)
    assert [unescape_cell(row["word"]) for row in read] == NAMES


@given(st.text())
def test_escaping_is_reversible(text):
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_csv_has_rounded_numbers_and_empty_cells():
    rows = [{"word": "a", "n": 3, "z": -0.001, "stop": False}, {"word": None, "n": None, "z": 2.345, "stop": None}]
    assert to_csv(COLUMNS, rows).decode() == "word,n,z,stop\na,3,0.00,0\n,,2.35,\n"


def test_parquet_keeps_names_and_numbers_exactly():
    rows = [*rows_of(NAMES), {"word": None, "n": None, "z": None, "stop": None}]
    assert read_parquet(to_parquet(COLUMNS, rows)) == rows


def test_a_name_that_is_not_utf_8_is_spelt_out_in_parquet():
    assert read_parquet(to_parquet(COLUMNS[:1], [{"word": "caf\udce9.jpg"}])) == [{"word": "caf\\udce9.jpg"}]


def test_no_rows_are_an_empty_table_with_its_columns():
    assert to_csv(COLUMNS, []).decode() == "word,n,z,stop\n"
    assert read_parquet(to_parquet(COLUMNS, [])) == []
