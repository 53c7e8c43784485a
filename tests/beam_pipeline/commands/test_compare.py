"""`captionbeam compare` over directories of captions written by hand."""

import csv
import json

import pytest

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.commands.compare import WordTable, compare, comparison
from beam_pipeline.options.results import CompareOptions
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.shards.run import Results
from beam_pipeline.words.reference import captions_reference, training_reference
from beam_pipeline.words.statistics import shard_statistics
from beam_pipeline.words.terms import BIGRAM, WORD
from beam_pipeline.words.writer import ResultWriter
from training.errors import UserError
from training.text.word_counts import WordCounts

MADE_WITH = {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"}


@pytest.fixture
def collection(tmp_path):
    """Writes the results of a collection as `caption` does; returns its directory."""
    (tmp_path / "captioner").mkdir()

    def write(name, captions, reference=None, evidence=None, **made_with):
        (tmp_path / name).mkdir(exist_ok=True)
        pictures = [
            CaptionedPicture(f"sha{number}", f"=p{number}.jpg", text, -1.0, (), known)
            for number, (text, known) in enumerate(zip(captions, evidence or [None] * len(captions), strict=True))
        ]
        found = shard_statistics(pictures, {one.sha256: 1 for one in pictures})
        writer = ResultWriter(str(tmp_path / name), str(tmp_path / "captioner"), reference, {**MADE_WITH, **made_with})
        writer.begin()
        counts = found.counts | {"listed": len(captions), "done": len(captions)}
        writer.write(Results(list(found.terms.items()), counts, {}))
        return str(tmp_path / name)

    return write


SEA = ["a dog by the sea"] * 20 + ["a boat on the sea"] * 20 + ["a man"] * 10
CITY = ["a man on a street"] * 30 + ["a dog on a street"] * 10 + ["a man by a car"] * 40


def test_what_is_more_in_one_than_in_the_other(collection, tmp_path, capsys):
    output = tmp_path / "comparison.csv"
    rows = compare(CompareOptions(collection("sea", SEA), collection("city", CITY), str(output)))
    assert [row["word"] for row in rows] == ["sea", "dog", "boat", "car", "street", "man"]
    first, last = rows[0], rows[-1]
    assert (first["pictures_a"], first["pictures_b"], first["share_a"]) == (40, 0, 0.8)
    assert first["q"] < 1e-6 and first["z"] > 5 and last["z"] < -3
    assert all(row["p"] <= row["q"] for row in rows)
    with open(output, newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["word"] for row in read] == [row["word"] for row in rows]
    assert read[0]["example_a"] == "'=p0.jpg" and read[0]["example_b"] == ""
    said = capsys.readouterr().out
    assert "more in sea" in said and "more in city" in said
    assert said.index("boat") < said.index("more in city") < said.index("street")
    # The surest first on either side.
    assert said.index("\nman") < said.index("\ncar")


def test_one_collection_with_itself_differs_in_nothing(collection, tmp_path, capsys):
    directory = collection("sea", SEA)
    rows = compare(CompareOptions(directory, directory, str(tmp_path / "c.csv")))
    assert all(row["z"] == 0 and row["q"] == 1 for row in rows)
    assert "0 of them differ" in capsys.readouterr().out


@pytest.mark.parametrize("empty", ["first", "second", "both"])
def test_an_empty_collection_gives_an_empty_table(collection, tmp_path, capsys, empty):
    first = collection("a", [] if empty != "second" else SEA)
    second = collection("b", [] if empty != "first" else SEA)
    output = tmp_path / "c.csv"
    assert compare(CompareOptions(first, second, str(output))) == []
    assert output.read_text().startswith("word,lemma,log_odds,z,p,q,") and output.read_text().count("\n") == 1
    assert "no words to compare" in capsys.readouterr().out


def test_estimates_count_where_both_have_them():
    def table(has_presence):
        return WordTable(10, has_presence, {"dog": {"images": 2, "estimate": 4.5, "example": "/x"}})

    assert comparison(table(True), table(True))[0]["pictures_a"] == 4.5
    (row,) = comparison(table(True), table(False))
    assert (row["pictures_a"], row["pictures_b"], row["counted_by"]) == (2, 2, "images")


@pytest.mark.parametrize(("name", "value"), [("model_id", "m2"), ("encoder_id", "e2"), ("beam_width", 5)])
def test_captions_of_different_captioners_are_refused(collection, tmp_path, name, value):
    first, second = collection("a", SEA), collection("b", CITY, **{name: value})
    with pytest.raises(UserError, match=rf"made with {name} {MADE_WITH[name]} and {value}.*caption both with one"):
        compare(CompareOptions(first, second, str(tmp_path / "c.csv")))
    with pytest.raises(UserError, match=rf"--reference .*made with {name}"):
        collection("c", SEA, reference=second)
    assert not (tmp_path / "c.csv").exists()


def test_what_is_no_finished_captioning_is_refused(collection, tmp_path):
    directory = collection("a", SEA)
    with pytest.raises(UserError, match=r"B .*nowhere: no summary.json here"):
        compare(CompareOptions(directory, str(tmp_path / "nowhere")))
    unfinished = collection("b", CITY)
    (tmp_path / "b" / "summary.json").write_text(json.dumps({"made_with": MADE_WITH}))
    with pytest.raises(UserError, match="has not ended"):
        compare(CompareOptions(directory, unfinished))


def test_another_collection_serves_as_reference(collection, tmp_path):
    city = collection("city", CITY)
    collection("sea", SEA, reference=city)
    summary = json.loads((tmp_path / "sea" / "summary.json").read_text())
    assert summary["reference"] == {"name": city, "documents": 80}
    rows = read_parquet((tmp_path / "sea" / "word_importance.parquet").read_bytes())
    assert rows[0]["word"] == "sea" and rows[0]["z"] > 5
    bigrams = read_parquet((tmp_path / "city" / "bigram_importance.parquet").read_bytes())
    assert bigrams == [], "a stop word stands between all of these"
    with pytest.raises(UserError, match="is the --output too"):
        collection("city", CITY, reference=city)


def test_the_captioner_s_training_captions_are_the_reference_where_it_has_their_counts(collection, tmp_path):
    assert training_reference(str(tmp_path / "captioner")) is None
    collection("none", SEA)
    assert json.loads((tmp_path / "none" / "summary.json").read_text())["reference"] is None
    counts = WordCounts()
    counts.add_picture(["a dog", "a dog", "a car"])
    counts.save(str(tmp_path / "captioner"))
    found = training_reference(str(tmp_path / "captioner"))
    assert (found.documents, found.said) == (3, {WORD: {"a": 3, "dog": 2, "car": 1}})
    collection("some", SEA)
    summary = json.loads((tmp_path / "some" / "summary.json").read_text())
    assert summary["reference"] == {"name": "training captions", "documents": 3}


def test_the_summary_says_what_is_known_and_what_is_missing(collection, tmp_path):
    collection("said", SEA)
    summary = json.loads((tmp_path / "said" / "summary.json").read_text())
    assert summary["evidence"] == ["said"]
    assert summary["evidence_missing"] == ["expected", "presence", "grounding"]
    assert (summary["pictures"], summary["captions"], summary["words"], summary["bigrams"]) == (50, 50, 4, 0)
    known = {"kinds": ["presence"], "words": {"dog": {"presence": 0.5}}}
    directory = collection("more", SEA, evidence=[known] * 50)
    summary = json.loads((tmp_path / "more" / "summary.json").read_text())
    assert (summary["evidence"], summary["evidence_missing"]) == (["said", "presence"], ["expected", "grounding"])
    reference = captions_reference(directory, "--reference")
    assert reference.estimated[WORD]["dog"] == 25.0 and reference.said[WORD]["dog"] == 20
    assert reference.estimated.keys() == {WORD, BIGRAM}


def test_the_presence_tail_that_a_captioner_carries_is_added(collection, tmp_path):
    (tmp_path / "captioner" / "presence_tail.json").write_text('{"words": {"dog": 0.002}}')
    known = [{"kinds": ["presence"], "words": words} for words in ({"dog": {"presence": 0.9}}, {})]
    collection("more", ["a dog", "a cat"], evidence=known)
    rows = {row["word"]: row for row in read_parquet((tmp_path / "more" / "word_importance.parquet").read_bytes())}
    assert rows["dog"]["estimate"] == pytest.approx(0.902)
    assert (rows["cat"]["estimate"], rows["cat"]["interval"]) == (1.0, "wilson"), "said, and its presence not known"
