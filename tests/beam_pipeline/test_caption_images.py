"""The caption pipeline end to end on real files, with a stand-in encoder and an untrained captioner."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_images import caption
from beam_pipeline.commands.status import status
from beam_pipeline.exports.export import WITHHELD, export
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.directories import StatusOptions
from beam_pipeline.options.results import ExportOptions
from beam_pipeline.results.caption_index import CaptionIndex
from beam_pipeline.runtime.tables import read_parquet, unescape_cell
from beam_pipeline.shards.ledger import read_ledger
from beam_pipeline.shards.shard_id import ledger_paths
from beam_pipeline.words.summary import sound_shards
from training.data.feature_set import load_feature_set
from training.errors import JobFailed, UserError
from training.models.calibration import Calibration
from training.models.captioner import load_captioner
from training.models.confidence import Confidence
from training.models.familiarity import Familiarity
from training.models.presence import PresenceHead
from training.own_names import CONFIDENCE


@pytest.fixture
def features(run_extract):
    return run_extract()


@pytest.fixture
def run(tmp_path, captioner, weights, load_encoder):
    def run(output="captions", **options):
        settings = {"captioner": captioner, "output": str(tmp_path / output), "weights": str(weights), "shard_size": 6}
        return caption(CaptionOptions(**{**settings, **options}), PipelineOptions([]), load_encoder)

    return run


@pytest.fixture(scope="module")
def captioned(tmp_path_factory, made_captioner, stand_in_weights, jpeg, noisy_jpeg, colours, mean_colour):
    """Options and summary of a finished run over 21 pictures, a copy and a broken file; never written to."""
    folder = tmp_path_factory.mktemp("captioned")
    photos = folder / "photos"
    photos.mkdir()
    files = {f"{number:02d}.jpg": jpeg(colour) for number, colour in enumerate(colours)}
    files |= {"copy.jpg": files["03.jpg"], "bad.jpg": b"no image", os.fsdecode(b"\xff.jpg"): noisy_jpeg(0)}
    for name, data in files.items():
        (photos / name).write_bytes(data)
    paths = {"images": str(photos), "captioner": made_captioner, "weights": str(stand_in_weights)}
    options = CaptionOptions(**paths, output=str(folder / "captions"), shard_size=6)
    return options, caption(options, PipelineOptions([]), lambda spec: mean_colour())


@pytest.fixture
def again(captioned, tmp_path, load_encoder):
    """Runs the same into a copy of its output, tmp_path/captions; options can be overridden."""
    output = shutil.copytree(captioned[0].output, tmp_path / "captions")

    def again(**options):
        return caption(replace(captioned[0], output=str(output), **options), PipelineOptions([]), load_encoder)

    return again


def rows_of(directory) -> dict[str, dict]:
    """sha256 -> caption row."""
    shards = sorted(Path(directory).glob("captions-*.jsonl"))
    rows = [json.loads(line) for path in shards for line in path.read_text().splitlines()]
    assert len({row["sha256"] for row in rows}) == len(rows)
    return {row["sha256"]: row for row in rows}


RESULTS = (
    "word_importance.csv",
    "word_importance.parquet",
    "bigram_importance.csv",
    "bigram_importance.parquet",
    "word_evidence.jsonl",
)


def words_of(directory) -> dict[str, bytes]:
    """All that is said of the words of a collection."""
    return {name: (Path(directory) / name).read_bytes() for name in RESULTS}


def test_images_and_features_give_the_same_captions_and_counts(run, good, features, tmp_path):
    from_images = run("a", images=str(good))
    from_features = run("b", features=features.path)
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")
    assert words_of(tmp_path / "a") == words_of(tmp_path / "b")
    assert from_images["captions"] == from_features["captions"] == 20
    assert from_images["totals"]["listed"] == from_features["totals"]["listed"] == 20


def test_a_row_holds_what_the_contract_names(captioned):
    row = next(iter(rows_of(captioned[0].output).values()))
    assert row.keys() == {"uri", "sha256", "caption", "score", "flags"}
    assert os.path.exists(row["uri"]) and row["score"] <= 0


def test_word_counts_are_those_of_the_captions(captioned):
    output = captioned[0].output
    rows = rows_of(output).values()
    files = {line.uri: line.sha256 for path in ledger_paths(output) for line in read_ledger(path)}
    with open(Path(output, "word_importance.csv"), newline="") as file:
        for word in csv.DictReader(file):
            holding = [row for row in rows if word["word"] in row["caption"].split()]
            assert int(word["images"]) == len(holding)
            assert int(word["files"]) == sum(sha in {row["sha256"] for row in holding} for sha in files.values())
            assert int(word["count"]) == sum(row["caption"].split().count(word["word"]) for row in holding)


def test_names_and_words_that_a_spreadsheet_would_run_are_harmless_and_come_back(run, jpeg, tmp_path, monkeypatch):
    names = ["=1+2.jpg", "+a.jpg", "-1.jpg", "@x.jpg", 'a,"b".jpg', "new\nline.jpg"]
    (tmp_path / "odd").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "odd" / name).write_bytes(jpeg((40 * number, 9, 200)))
    monkeypatch.chdir(tmp_path / "odd")
    run(images=".", output="captions")
    assert sorted(os.path.basename(row["uri"]) for row in rows_of(tmp_path / "captions").values()) == sorted(names)
    with open(tmp_path / "captions" / "word_importance.csv", newline="") as file:
        header, *cells = list(csv.reader(file))
    table = read_parquet(str(tmp_path / "captions" / "word_importance.parquet"))
    assert len(cells) == len(table) > 0 and all(len(row) == len(header) for row in cells)
    texts = [dict(zip(header, row, strict=True)) for row in cells]
    assert all(not row[name].startswith(("=", "+", "-", "@")) for row in texts for name in ("word", "lemma", "example"))
    assert [unescape_cell(row["example"]) for row in texts] == [row["example"] for row in table]
    shown = [json.loads(line) for line in (tmp_path / "captions" / "word_evidence.jsonl").read_text().splitlines()]
    seen = {os.path.basename(picture["uri"]) for word in shown for picture in word["top"] + word["sample"]}
    assert seen == set(names)


def test_a_page_comes_with_the_captions_and_its_failure_costs_them_nothing(run, good, monkeypatch):
    """The output lies among the pictures, and the page has its thumbnails beside it: neither is an input."""
    monkeypatch.setattr("beam_pipeline.reports.report.MAX_PAGE_BYTES", 1)
    (good / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    options = {"images": str(good), "output": str(good / "out"), "report": True}
    assert run(**options)["totals"]["listed"] == 21
    page = good / "out" / "report.html"
    first = page.read_bytes()
    assert b"Every file is accounted for." in first
    assert len(list((good / "out" / "report_files").iterdir())) == 20
    assert run(**options)["totals"]["listed"] == 21
    assert page.read_bytes() == first
    page.unlink()
    page.mkdir()
    again = run(**options)
    assert (again["captions"], again["totals"]["listed"]) == (20, 21)


def test_a_collection_that_is_rejected_too_often_has_a_page_that_tells_why(run, good, tmp_path):
    for number in range(4):
        (good / f"cut{number}.jpg").write_bytes(b"\xff\xd8\xff%d" % number)
    with pytest.raises(JobFailed, match="4 of 24 inputs were rejected"):
        run(images=str(good), report=True)
    assert "4 files could not be captioned" in " ".join((tmp_path / "captions" / "report.html").read_text().split())


def test_an_empty_collection_gives_empty_tables(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "none.jpg").write_bytes(b"no image")
    summary = run(images=str(tmp_path / "bad"), max_reject_rate=1.0)
    assert (summary["pictures"], summary["words"], summary["bigrams"]) == (0, 0, 0)
    assert (tmp_path / "captions" / "word_importance.csv").read_text().count("\n") == 1
    assert (tmp_path / "captions" / "word_evidence.jsonl").read_bytes() == b""


def test_another_collection_can_be_the_reference(run, captioned, good, tmp_path):
    with pytest.raises(UserError, match=r"--reference .*nowhere: no summary.json here"):
        run(images=str(good), reference=str(tmp_path / "nowhere"))
    assert not (tmp_path / "captions").exists()
    same = captioned[0]
    summary = run(images=same.images, reference=same.output)
    assert summary["reference"] == {"name": same.output, "documents": 21}
    table = read_parquet(str(tmp_path / "captions" / "word_importance.parquet"))
    assert all(row["z"] == 0 for row in table), "the same pictures"


def test_a_second_run_captions_nothing_and_changes_no_byte(captioned, again, encoder, tmp_path, contents_of):
    before = contents_of(captioned[0].output)
    assert again()["totals"]["new_done"] == encoder.calls == 0
    after = contents_of(tmp_path / "captions")
    assert {n: d for n, d in after.items() if n != "summary.json"} == {
        n: d for n, d in before.items() if n != "summary.json"
    }


def test_two_runs_and_one_count_the_same(run, good, noisy_jpeg, tmp_path):
    run("twice", images=str(good))
    for number in range(7):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    (good / "later_copy.jpg").write_bytes((good / "05.jpg").read_bytes())
    twice = run("twice", images=str(good))
    once = run("once", images=str(good))
    assert words_of(tmp_path / "twice") == words_of(tmp_path / "once")
    assert rows_of(tmp_path / "twice") == rows_of(tmp_path / "once")
    for name in ("listed", "done", "duplicate", "rejected"):
        assert twice["totals"][name] == once["totals"][name]


def test_a_killed_run_is_finished_with_the_same_bytes(captioned, again, tmp_path, contents_of):
    whole = contents_of(captioned[0].output)
    lost = sorted(name for name in whole if name.startswith("ledger-"))[1:3]
    for name in lost:
        (tmp_path / "captions" / name).unlink()
    again()
    repaired = contents_of(tmp_path / "captions")
    assert {n: d for n, d in repaired.items() if n != "summary.json"} == {
        n: d for n, d in whole.items() if n != "summary.json"
    }


def test_new_feature_shards_alone_are_captioned(run, run_extract, good, noisy_jpeg, features, tmp_path, contents_of):
    run(features=features.path)
    before = contents_of(tmp_path / "captions")
    for number in range(3):
        (good / f"new{number}.jpg").write_bytes(noisy_jpeg(number))
    (good / "copy.jpg").write_bytes((good / "00.jpg").read_bytes())
    run_extract()
    summary = run(features=features.path)
    assert (summary["captions"], summary["totals"]["new_done"], summary["totals"]["duplicate"]) == (23, 3, 1)
    after = contents_of(tmp_path / "captions")
    kept = [name for name in before if name.startswith(("captions-", "ledger-"))]
    assert all(after[name] == before[name] for name in kept)

    for name, content in before.items():  # as if the second run had been stopped before it wrote its results
        (tmp_path / "captions" / name).write_bytes(content)
    with CaptionIndex(str(tmp_path / "captions"), 0.3) as index:
        assert len(list(index.files())) == 20
    said = dict(status(StatusOptions(str(tmp_path / "captions"))))
    assert said["  not counted"] == "1 finished shard; the next run counts them" and "continue with" in said


def test_captions_of_a_lost_shard_are_made_again_from_where_their_files_are_now(run, good, encoder, tmp_path):
    first = run(images=str(good))
    os.utime(good / "00.jpg", (1, 1))  # touched: a later run lists it anew
    for number in range(1, 20):
        (good / f"{number:02d}.jpg").rename(good / f"moved{number:02d}.jpg")
    run(images=str(good))
    output = tmp_path / "captions"
    rows = {sha256: row["caption"] for sha256, row in rows_of(output).items()}
    lost = output / first["shards"][1]["name"]
    captions = len(lost.read_text().splitlines())
    (output / lost.name.replace("captions", "ledger")).unlink()
    encoder.calls = 0
    assert run(images=str(good))["captions"] == 20
    assert encoder.calls == captions
    assert {sha256: row["caption"] for sha256, row in rows_of(output).items()} == rows
    assert dict(status(StatusOptions(str(output))))["finished"]
    sound_shards(str(output))


def test_rejected_files_and_copies_are_accounted_for(captioned):
    options, summary = captioned
    totals = {name: summary["totals"][name] for name in ("listed", "done", "duplicate", "rejected")}
    assert totals == {"listed": 23, "done": 21, "duplicate": 1, "rejected": 1}
    assert Path(options.output, "rejected.txt").read_text() == f"{options.images}/bad.jpg\n"


def test_features_of_another_encoder_are_refused(run, run_extract, weights, captioner):
    weights.write_bytes(weights.read_bytes() + b"others")
    others = run_extract("others")
    with pytest.raises(
        UserError, match=r"trained on features of InceptionV3 \w+ .*, but these are features of InceptionV3 \w+ "
    ):
        run(features=others.path)


def test_another_beam_width_is_refused_in_the_same_output(again):
    with pytest.raises(UserError, match=r"made with beam width 3, and this run has 2; choose another --output"):
        again(beam_width=2)


def test_settings_that_are_left_open_are_those_of_the_captions_that_are_there(run, good, tmp_path):
    run("narrow", images=str(good), beam_width=2, min_words=2)
    summary = run("narrow", images=str(good))
    assert (summary["made_with"]["beam_width"], summary["made_with"]["min_words"]) == (2, 2)
    assert summary["made_with"]["judge"] is None


def test_alternatives_come_beside_the_same_captions(run, captioned, tmp_path):
    images, output = captioned[0].images, captioned[0].output
    run("more", images=images, alternatives=2)
    alone, more = rows_of(output), rows_of(tmp_path / "more")
    assert [row["caption"] for row in alone.values()] == [row["caption"] for row in more.values()]
    assert {len(row["alternatives"]) for row in more.values()} == {2}
    assert words_of(output) == words_of(tmp_path / "more")
    with pytest.raises(UserError, match="made with alternatives 2, and this run has 1; choose another --output"):
        run("more", images=images, alternatives=1)


def test_more_alternatives_than_the_search_ends_with_are_refused(run, good):
    with pytest.raises(UserError, match=r"--alternatives 3: .* at most 2 beside the best caption; raise --beam-width"):
        run(images=str(good), alternatives=3)


def test_either_images_or_features(run, good, features):
    with pytest.raises(UserError, match="either --images or --features"):
        run(images=str(good), features=features.path)


def test_a_damaged_feature_shard_is_named_before_anything_is_captioned(run, features, tmp_path):
    name = load_feature_set(features.path).shards[0].name
    os.truncate(os.path.join(features.path, name), 100)
    with pytest.raises(JobFailed, match=name):
        run(features=features.path)
    assert not (tmp_path / "captions").exists()


def test_no_captioner_there_is_one_line(run, good, tmp_path):
    with pytest.raises(UserError, match=r"no config.json here"):
        run(images=str(good), captioner=str(tmp_path))


def test_a_name_that_is_not_utf8_is_captioned(captioned):
    options, summary = captioned
    assert summary["captions"] == 21
    assert f"{options.images}/{os.fsdecode(bytes([0xFF]))}.jpg" in {
        row["uri"] for row in rows_of(options.output).values()
    }


def test_a_word_presence_head_gives_estimates_to_the_tables(run, captioned, captioner, tmp_path):
    options, bare = captioned
    assert (bare["evidence"], bare["evidence_missing"]) == (["said"], ["expected", "presence", "grounding"])
    zeros = np.zeros
    head = PresenceHead(
        words=("dog", "sea"),
        rare={"runs": 0.25},
        hidden_kernel=zeros([2048, 1]),
        hidden_bias=zeros(1),
        output_kernel=zeros([1, 2, 2]),
        output_bias=np.log([[[1.0, 1 / 9]]]),  # 0.5 and 0.1, whatever the picture shows
        mean_inputs=zeros([1, 2048]),
    )
    head.save(captioner, {"dog": 0.005, "sea": 0.005, "runs": 0.005})
    summary = run("known", images=options.images)
    assert (summary["evidence"], summary["evidence_missing"]) == (["said", "expected", "presence", "grounding"], [])
    table = {row["word"]: row for row in read_parquet(str(tmp_path / "known" / "word_importance.parquet"))}
    assert table["sea"]["images"] == 0  # no caption can say it, and two of 21 pictures show it all the same
    for word, share in (("dog", 0.5), ("sea", 0.1), ("runs", 0.25)):
        assert table[word]["estimate"] == pytest.approx(21 * share, rel=5e-3), word
        assert table[word]["interval"] == "poisson_binomial"
    assert rows_of(options.output).keys() == rows_of(tmp_path / "known").keys()


@pytest.fixture
def judged(captioner):
    """The captioner with a word-presence head and a made-up confidence; returns its directory."""
    generator = np.random.default_rng(3)
    head = PresenceHead(
        words=("dog", "cat", "red"),
        rare={},
        hidden_kernel=generator.normal(size=(2048, 4)) / 16,
        hidden_bias=np.zeros(4),
        output_kernel=generator.normal(size=(1, 8, 3)),
        output_bias=np.zeros([1, 1, 3]),
        mean_inputs=np.zeros([1, 2048]),
    )
    head.save(captioner, dict.fromkeys(head.words, 0.001))
    fitted = Calibration((-2.0, 0.5, 0.5, -0.1), (0.5, 0.2, 0.2, 0.1), (1.0, 1.0, 1.0, 0.5), 0.0)
    familiarity = Familiarity(np.zeros(2048, np.float32), np.eye(1, 2048, dtype=np.float32), 1.0, 0.25)
    weights, none = np.array([1.0, 2.0, 0.5], np.float32), np.zeros(0, np.uint64)
    confidence = Confidence(head.words, weights, none, none, familiarity, (fitted,), ((fitted, fitted),))
    confidence.save(captioner, load_captioner(captioner).model_id)
    return captioner


def test_rows_carry_confidence_whatever_the_shards_and_the_source(run, judged, good, features, tmp_path):
    run("a", images=str(good), alternatives=1)
    run("b", features=features.path, alternatives=1)
    run("c", images=str(good), alternatives=1, shard_size=3)
    rows = rows_of(tmp_path / "a")
    assert rows == rows_of(tmp_path / "b") == rows_of(tmp_path / "c")
    for row in rows.values():
        assert all(0 < one["confidence"] < 1 for one in (row, *row["alternatives"]))
        assert row["confidence"] == round(row["confidence"], 4)
    assert len({row["confidence"] for row in rows.values()}) > 5
    flags = [flag for row in rows.values() for flag in row["flags"]]
    assert 0 < flags.count("unlike_training") < 20


def test_captions_of_low_confidence_are_kept_flagged_counted_and_left_out_of_exports(
    run, judged, good, tmp_path, capsys
):
    every = run("every", images=str(good))
    rows = rows_of(tmp_path / "every")
    least = sorted(row["confidence"] for row in rows.values())[8]
    few = sum(row["confidence"] < least for row in rows.values())
    capsys.readouterr()
    summary = run("some", images=str(good), min_confidence=least)
    assert f"{few} captions below --min-confidence {least:g}: flagged low_confidence" in capsys.readouterr().out
    assert (summary["flags"]["low_confidence"], summary["captions"], summary["totals"]["done"]) == (few, 20, 20)
    assert "low_confidence" not in every["flags"] and few > 0
    some = rows_of(tmp_path / "some")
    for sha256, row in rows.items():
        low = ["low_confidence"] if row["confidence"] < least else []
        assert some[sha256] == row | {"flags": row["flags"] + low}
    assert words_of(tmp_path / "some") == words_of(tmp_path / "every")
    assert export(ExportOptions(str(tmp_path / "some"), "csv", str(tmp_path / "out.csv")))[WITHHELD] == few
    with pytest.raises(UserError, match=f"made with min confidence {least}, and this run has none; choose another"):
        run("some", images=str(good))


def test_a_captioner_without_confidence_captions_and_says_how_to_get_it(
    run, again, captioner, made_captioner, good, tmp_path, caplog
):
    with caplog.at_level("INFO", logger="captionbeam"):
        again()
    assert not any("confidence" in row for row in rows_of(tmp_path / "captions").values())
    told = f"{made_captioner} has none; run the `captionbeam train` command that made it again, which adds it"
    assert f"captions come without confidence: {told}" in caplog.messages
    with pytest.raises(UserError, match=r"^--min-confidence 0.5: .* has none; run the `captionbeam train` command"):
        run("other", images=str(good), min_confidence=0.5)
    assert not (tmp_path / "other").exists()


def test_captions_with_and_without_confidence_do_not_mix(run, judged, good):
    run(images=str(good))
    os.remove(os.path.join(judged, CONFIDENCE))
    with pytest.raises(UserError, match=r"made with confidence \w{12}, and this run has none; choose another --output"):
        run(images=str(good))
