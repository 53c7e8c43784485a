"""`captionbeam compare` over directories of captions written by hand."""

import csv
import json
import os

import pytest

from beam_pipeline.commands.compare import WordTable, compare, comparison
from beam_pipeline.options.results import CompareOptions
from training.errors import UserError

MADE_WITH = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"}
SEA = ["a dog by the sea"] * 20 + ["a boat on the sea"] * 20 + ["a man"] * 10
CITY = ["a man on a street"] * 30 + ["a dog on a street"] * 10 + ["a man by a car"] * 40


def test_what_is_more_in_one_than_in_the_other(word_tables, tmp_path, capsys):
    output = tmp_path / "comparison.csv"
    rows = compare(CompareOptions(word_tables("sea", SEA), word_tables("city", CITY), str(output)))
    assert [row["word"] for row in rows] == ["sea", "dog", "boat", "car", "street", "man"]
    first, last = rows[0], rows[-1]
    assert (first["pictures_a"], first["pictures_b"], first["share_a"]) == (40, 0, 0.8)
    assert first["q"] < 1e-6 and first["z"] > 5 and last["z"] < -3
    assert all(row["p"] <= row["q"] for row in rows)
    with open(output, newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["word"] for row in read] == [row["word"] for row in rows]
    assert read[0]["example_a"] == "'=p0.jpg" and read[0]["example_b"] == ""
    printed = capsys.readouterr().out
    assert "more in sea" in printed and "more in city" in printed
    assert printed.index("boat") < printed.index("more in city") < printed.index("street")
    # The surest first on either side.
    assert printed.index("\nman") < printed.index("\ncar")


def test_one_collection_with_itself_differs_in_nothing(word_tables, tmp_path, capsys):
    directory = word_tables("sea", SEA)
    rows = compare(CompareOptions(directory, directory, str(tmp_path / "c.csv")))
    assert all(row["z"] == 0 and row["q"] == 1 for row in rows)
    assert "0 differ at" in capsys.readouterr().out


def test_standard_output_takes_the_table_alone(word_tables, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directories = word_tables("sea", SEA), word_tables("city", CITY)
    compare(CompareOptions(*directories, str(tmp_path / "c.csv")))
    printed = capfd.readouterr().out.partition(f"\n{tmp_path}")[0]
    before = set(os.listdir())
    compare(CompareOptions(*directories, "-"))
    said = capfd.readouterr()
    assert said.out == (tmp_path / "c.csv").read_text() and said.err.startswith(printed)
    assert set(os.listdir()) == before  # no page either


@pytest.mark.parametrize("empty", ["first", "second", "both"])
def test_an_empty_collection_gives_an_empty_table(word_tables, tmp_path, capsys, empty):
    first = word_tables("a", [] if empty != "second" else SEA)
    second = word_tables("b", [] if empty != "first" else SEA)
    output = tmp_path / "c.csv"
    assert compare(CompareOptions(first, second, str(output))) == []
    assert output.read_text().startswith("word,lemma,log_odds,z,p,q,") and output.read_text().count("\n") == 1
    assert "no words to compare" in capsys.readouterr().out


def test_estimates_count_where_both_have_them():
    def table(has_presence):
        return WordTable(10, has_presence, {"dog": {"lemma": "dog", "images": 2, "estimate": 4.5, "example": "/x"}})

    assert comparison(table(True), table(True))[0]["pictures_a"] == 4.5
    (row,) = comparison(table(True), table(False))
    assert (row["pictures_a"], row["pictures_b"], row["counted_by"]) == (2, 2, "images")


@pytest.mark.parametrize(("name", "value"), [("model_id", "m2"), ("encoder_id", "e2"), ("beam_width", 5)])
def test_captions_of_different_captioners_are_refused(word_tables, tmp_path, name, value):
    first, second = word_tables("a", SEA), word_tables("b", CITY, **{name: value})
    with pytest.raises(UserError, match=rf"made with {name} {MADE_WITH[name]} and {value}.*caption both with the same"):
        compare(CompareOptions(first, second, str(tmp_path / "c.csv")))
    with pytest.raises(UserError, match=rf"--reference .*made with {name}"):
        word_tables("c", SEA, reference=second)
    assert not (tmp_path / "c.csv").exists()


def test_what_is_no_finished_captioning_is_refused(word_tables, tmp_path):
    directory = word_tables("a", SEA)
    with pytest.raises(UserError, match=r"B .*nowhere: no summary.json here"):
        compare(CompareOptions(directory, str(tmp_path / "nowhere")))
    unfinished = word_tables("b", CITY)
    (tmp_path / "b" / "summary.json").write_text(json.dumps({"made_with": MADE_WITH}))
    with pytest.raises(UserError, match="has not finished"):
        compare(CompareOptions(directory, unfinished))


def test_a_page_of_somebody_else_beside_the_table_stays(word_tables, tmp_path, caplog):
    first = word_tables("a", ["a dog runs"])
    page = tmp_path / "mine.html"
    page.write_text("<html>mine</html>")
    compare(CompareOptions(first, first, str(tmp_path / "mine.csv")))
    assert page.read_text() == "<html>mine</html>" and f"{page}: not written (another file of this name" in caplog.text
    for _ in range(2):  # its own page is written anew
        caplog.clear()
        compare(CompareOptions(first, first, str(tmp_path / "new.csv")))
        assert b"captionbeam" in (tmp_path / "new.html").read_bytes() and not caplog.text
