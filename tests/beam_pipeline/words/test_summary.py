import json

import pytest

from beam_pipeline.words.summary import mention_strangers_of_captions, read_summary, read_table
from beam_pipeline.words.terms import BIGRAM, WORD
from training.errors import UserError


def test_the_summary_of_finished_captions_is_read(word_tables):
    summary = read_summary(word_tables("a", ["a dog"]), "DIR")
    assert (summary["pictures"], summary["made_with"]["model_id"]) == (1, "m1")


def test_the_tables_of_words_and_bigrams_are_read(word_tables):
    directory = word_tables("a", ["a red dog", "a dog"])
    assert [(row["word"], row["images"]) for row in read_table(directory, WORD)] == [("dog", 2), ("red", 1), ("a", 2)]
    assert [row["word"] for row in read_table(directory, BIGRAM)] == ["red dog"]


def test_a_directory_without_captions_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^DIR .*: no summary.json here; give a directory that `captionbeam caption`"):
        read_summary(str(tmp_path), "DIR")


def test_captions_that_are_not_finished_are_refused(word_tables, tmp_path):
    directory = word_tables("a", ["a dog"])
    (tmp_path / "a" / "summary.json").write_text(json.dumps({"made_with": {}}))
    with pytest.raises(UserError, match="captioning has not finished"):
        read_summary(directory, "DIR")


@pytest.mark.parametrize("name", ["word_importance.parquet", "bigram_importance.parquet"])
def test_a_missing_table_is_named(word_tables, tmp_path, name):
    directory = word_tables("a", ["a dog"])
    (tmp_path / "a" / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: is missing; run the same captionbeam caption command again"):
        read_summary(directory, "DIR")


@pytest.mark.parametrize("content", ["{", "3"])
def test_a_damaged_summary_is_named(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary.json: .*; remove it and run the same captionbeam caption"):
        read_summary(str(tmp_path), "DIR")


def test_what_does_not_belong_to_captions_is_logged_in_one_line(word_tables, tmp_path, caplog):
    directory = word_tables("a", ["a dog"])
    for name in ("rejected.txt", "report.html", "exported_texts.jsonl", "notes.txt"):
        (tmp_path / "a" / name).touch()
    with caplog.at_level("INFO", "captionbeam"):
        mention_strangers_of_captions(directory, read_summary(directory, "DIR"))
    assert caplog.messages == [f"{directory}: 1 other file is no part of it (notes.txt)"]
