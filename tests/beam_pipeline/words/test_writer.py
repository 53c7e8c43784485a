import json

import pytest

from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.words.statistics import WordStatistics, WordSums
from beam_pipeline.words.summary import read_table
from beam_pipeline.words.terms import BIGRAM, LEMMA, WORD
from beam_pipeline.words.writer import ResultWriter, by_kind, is_of_words
from training.errors import UserError
from training.text.word_counts import WordCounts

SEA = ["a dog by the sea"] * 20 + ["a boat on the sea"] * 20 + ["a man"] * 10
CITY = ["a man on a street"] * 30 + ["a dog on a street"] * 10 + ["a man by a car"] * 40


def summary_of(directory):
    with open(f"{directory}/summary.json", encoding="utf-8") as file:
        return json.load(file)


def rows_of(directory, name="word_importance"):
    return read_parquet(f"{directory}/{name}.parquet")


def test_the_summary_holds_counts_and_settings(word_tables, tmp_path):
    summary = summary_of(word_tables("sea", SEA))
    results = summary.pop("results")
    del summary["checksum"]
    assert sorted(results) == sorted(path.name for path in (tmp_path / "sea").iterdir() if path.name != "summary.json")
    assert summary == {
        "made_with": {"model_id": "m1", "encoder_id": "e1", "beam_width": 3, "source": "images"},
        "totals": {
            "listed": 50,
            "done": 50,
            "new_done": 50,
            "duplicate": 0,
            "new_duplicate": 0,
            "rejected": 0,
            "new_rejected": 0,
        },
        "captions": 50,
        "pictures": 50,
        "files": 50,
        "flags": {},
        "words": 4,
        "bigrams": 0,
        "evidence": ["said"],
        "evidence_missing": ["expected", "presence", "grounding"],
        "reference": None,
        "notes": {},
        "shards": [],
    }


def test_the_summary_lists_evidence_that_every_picture_has(word_tables):
    evidence = {"kinds": ["presence"], "words": {"dog": {"presence": 0.5}}}
    summary = summary_of(word_tables("sea", SEA, evidence=[evidence] * 50))
    assert (summary["evidence"], summary["evidence_missing"]) == (["said", "presence"], ["expected", "grounding"])


def test_tables_come_as_csv_and_parquet_with_example_pictures_beside_them(word_tables, tmp_path):
    directory = word_tables("sea", ["a red boat"])
    assert [row["word"] for row in rows_of(directory)] == ["boat", "red", "a"]
    assert [row["word"] for row in rows_of(directory, "bigram_importance")] == ["red boat"]
    csv = (tmp_path / "sea" / "word_importance.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in csv] == ["word", "boat", "red", "a"]
    lines = (tmp_path / "sea" / "word_evidence.jsonl").read_text().splitlines()
    picture = {"uri": "=p0.jpg", "sha256": "sha0", "caption": "a red boat"}
    assert [json.loads(line) for line in lines] == [
        {"kind": kind, "word": word, "top": [picture], "sample": [picture], "likely_false": []}
        for kind, word in ((WORD, "boat"), (WORD, "red"), (BIGRAM, "red boat"))
    ]


def test_a_run_that_begins_marks_its_output_as_unfinished(tmp_path):
    ResultWriter(str(tmp_path), "captioner", None, {"model_id": "m1"}).begin()
    assert list(summary_of(tmp_path).items())[:-1] == [("made_with", {"model_id": "m1"})]


@pytest.mark.parametrize("name", ["next-word_importance.parquet", "next-word_evidence.jsonl", "word_importance.csv"])
def test_a_folder_that_has_the_name_of_a_result_is_named_before_a_run(word_tables, tmp_path, name):
    """Readers take no folder for a result that waits."""
    directory = word_tables("sea", SEA)
    (tmp_path / "sea" / name).unlink(missing_ok=True)
    (tmp_path / "sea" / name).mkdir()
    assert read_table(directory, WORD)
    with pytest.raises(UserError, match=f"{name}.*folder"):
        ResultWriter(directory, "captioner", None, {}).begin()


def test_the_training_captions_are_the_reference_where_the_captioner_has_their_counts(word_tables, tmp_path):
    counts = WordCounts()
    counts.add_picture(["a dog", "a dog", "a car"])
    counts.save(str(tmp_path / "captioner"))
    assert summary_of(word_tables("sea", SEA))["reference"] == {"name": "training captions", "documents": 3}


def test_another_collection_serves_as_reference(word_tables):
    city = word_tables("city", CITY)
    sea = word_tables("sea", SEA, reference=city)
    assert summary_of(sea)["reference"] == {"name": city, "documents": 80}
    first = rows_of(sea)[0]
    assert first["word"] == "sea" and first["z"] > 5


def test_the_output_itself_and_another_captioner_s_captions_are_no_reference(word_tables):
    city = word_tables("city", CITY)
    with pytest.raises(UserError, match=r"--reference .*: made with model_id m2 and m1"):
        word_tables("sea", SEA, reference=city, model_id="m2")
    with pytest.raises(UserError, match="is also the --output"):
        word_tables("city", CITY, reference=city)


def test_the_presence_tail_of_the_captioner_is_added_for_pictures_that_do_not_mention_a_word(word_tables, tmp_path):
    (tmp_path / "captioner" / "presence_tail.json").write_text('{"schema_version": 2, "words": {"dog": 0.002}}')
    evidence = [{"kinds": ["presence"], "words": words} for words in ({"dog": {"presence": 0.9}}, {})]
    rows = {row["word"]: row for row in rows_of(word_tables("more", ["a dog", "a cat"], evidence=evidence))}
    assert rows["dog"]["estimate"] == pytest.approx(0.902)
    assert (rows["cat"]["estimate"], rows["cat"]["interval"]) == (1.0, "wilson"), "its presence is not known"


def test_settings_of_one_directory_do_not_mix(tmp_path):
    def writer(**made_with):
        return ResultWriter(str(tmp_path), str(tmp_path / "captioner"), None, made_with)

    writer(beam_width=3).check()  # an empty directory takes any
    writer(beam_width=3, confidence=None).begin()
    writer(beam_width=3, confidence=None).check()
    with pytest.raises(UserError, match=r"holds captions made with beam width 3, and this run has 2; choose another"):
        writer(beam_width=2).check()
    with pytest.raises(UserError, match=r"holds captions made with confidence none, and this run has c1; choose"):
        writer(beam_width=3, confidence="c1").check()


def test_statistics_are_sorted_by_kind_of_term():
    statistics = WordStatistics(WordSums(1, 1))
    terms = [((WORD, "dogs"), statistics), ((LEMMA, "dog"), statistics)]
    assert by_kind(terms) == {WORD: {"dogs": statistics}, LEMMA: {"dog": statistics}, BIGRAM: {}}


def test_counts_of_captions_are_told_from_counts_of_files():
    names = ["captions", "pictures_counted", "files_counted", "flag_repeats", "evidence_presence", "done", "listed"]
    assert [is_of_words(name) for name in names] == [True] * 5 + [False] * 2
