"""`status`, `inspect` and `verify` of what the pipelines really made, of a killed run, and of damaged files."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.caption_images import caption
from beam_pipeline.cli import main
from beam_pipeline.commands.directories import read_ledgers
from beam_pipeline.commands.inspect import inspect
from beam_pipeline.commands.status import status
from beam_pipeline.commands.verify import cosine, draw, verify
from beam_pipeline.extract_features import extract
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.directories import InspectOptions, StatusOptions, VerifyOptions
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_set import MANIFEST
from training.errors import JobFailed, UserError
from training.files import locked
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import save_weights, write_config
from training.text.vocabulary import Vocabulary


class MeanColour:
    def encode(self, pixels):
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2))
        return features


def load(spec):
    return MeanColour()


@pytest.fixture(scope="module")
def made(tmp_path_factory, jpeg, colours):
    """Features, a captioner, and captions from images and from features, of 20 pictures, a copy and a broken one."""
    root = tmp_path_factory.mktemp("made")
    photos = root / "photos"
    photos.mkdir()
    for number, colour in enumerate(colours):
        (photos / f"{number:02d}.jpg").write_bytes(jpeg(colour))
    (photos / "copy.jpg").write_bytes(jpeg(colours[0]))
    (photos / "broken.jpg").write_bytes(b"no picture")
    weights = root / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    captions = root / "captions.csv"
    captions.write_text("image,caption\n" + "".join(f"{number:02d}.jpg,a dog runs\n" for number in range(20)))
    features = extract(
        ExtractOptions(
            images=str(photos),
            output=str(root / "features"),
            captions=str(captions),
            weights=str(weights),
            feature_kind="pooled",
            precision="float32",
            shard_size=5,
        ),
        PipelineOptions([]),
        load,
    )
    captioner = root / "captioner"
    captioner.mkdir()
    words = Vocabulary(("red", "green", "blue", "dog", "cat", "runs", "jumps", "sits"))
    config = ModelConfig("merge", len(words), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(captioner))
    trained_with = {"model": "merge", "epochs": 7, "self_critical_epochs": 0, "seed": 3, "glove": None}
    write_config(str(captioner), config, features.encoder, 6, 1, trained_with)
    words.save(str(captioner / "vocabulary.txt"))
    for name, source in (("captions", {"images": str(photos)}), ("of_features", {"features": features.path})):
        chosen = CaptionOptions(captioner=str(captioner), output=str(root / name), weights=str(weights), **source)
        caption(chosen, PipelineOptions([]), load)
    return SimpleNamespace(root=root, photos=photos, weights=str(weights), captioner=str(captioner))


@pytest.fixture
def copy(made, tmp_path):
    """Copies an output, so that a test may damage it."""

    def copy(name: str) -> Path:
        shutil.copytree(made.root / name, tmp_path / name)
        return tmp_path / name

    return copy


def times_of(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in [directory, *directory.iterdir()]}


# status


def test_status_of_a_finished_feature_set(made, capsys):
    directory = made.root / "features"
    before = times_of(directory)
    rows = dict(status(StatusOptions(str(directory))))
    assert rows["running now"] == "no"
    assert rows["inputs"] == "22 = 20 done + 1 duplicate + 1 rejected"
    assert rows["  rejected"].startswith("1 decode: ")
    assert rows["shards"] == "5 finished" and "  unfinished" not in rows
    assert rows["finished"].startswith(
        f"for what is new: captionbeam extract --images ... --output {directory} --weights "
    )
    assert rows["last written"].endswith(" s ago")
    assert capsys.readouterr().out.splitlines()[0] == f"feature set   {directory}"
    assert times_of(directory) == before


def test_status_of_a_killed_run(copy):
    directory = copy("features")
    (directory / ShardId(1, 2, 5).ledger()).unlink()
    (directory / MANIFEST).unlink()
    rows = dict(status(StatusOptions(str(directory))))
    assert rows["  unfinished"] == "run 1: 1 of 5 shards are missing"
    assert rows["shards"] == "4 finished"
    assert rows["manifest"] == "lacks 4 finished shards; the next run adds them"
    assert rows["go on with"].startswith("captionbeam extract --images ... ")


def test_status_says_whether_a_job_runs(copy):
    directory = copy("captions")
    with locked(str(directory)):
        rows = dict(status(StatusOptions(str(directory))))
    assert rows["running now"] == "yes"
    assert rows["go on with"] == "nothing: a job is at it"


def test_status_of_captions(made, copy):
    rows = dict(status(StatusOptions(str(made.root / "captions"))))
    assert rows["inputs"] == "22 = 20 done + 1 duplicate + 1 rejected"
    assert "of 20 captions" in rows["words"]
    assert "--images ... --captioner ... --output" in rows["finished"] and "--beam-width 3" in rows["finished"]
    killed = copy("captions")
    summary = json.loads((killed / "summary.json").read_text())
    (killed / "summary.json").write_text(json.dumps({"made_with": summary["made_with"]}))
    rows = dict(status(StatusOptions(str(killed))))
    assert rows["words"].startswith("not counted yet") and "finished" not in rows


def test_status_of_a_captioner_in_training(made):
    rows = dict(status(StatusOptions(made.captioner)))
    assert rows["model"] == "merge"
    assert rows["go on with"] == (f"captionbeam train --features ... --output {made.captioner} --model merge --seed 3")


def test_the_newest_run_has_the_last_word(tmp_path):
    def line(name, outcome, reason=""):
        return LedgerLine(name, 1, 1, "x", outcome, "read" if reason else "", reason)

    runs = [
        [line("a", "rejected", "gone"), line("b", "done"), line("c", "rejected", "gone")],
        [line("a", "done")],
        [line("b", "rejected", "changed"), line("d", "done")],
    ]
    for number, lines in enumerate(runs, start=1):
        (tmp_path / ShardId(number, 0, 1).ledger()).write_bytes(to_jsonl(lines))
    found = read_ledgers(str(tmp_path))
    assert found.outcomes == {"done": 2, "rejected": 2}
    assert found.reasons == {("read", "gone"): 1, ("read", "changed"): 1}


# inspect


def test_inspect_a_feature_set(made, capsys):
    document = inspect(InspectOptions(str(made.root / "features"), json=True))
    assert json.loads(capsys.readouterr().out) == document
    assert (document["kind"], document["schema_version"], document["pictures"], document["captions"]) == (
        "feature set",
        1,
        20,
        20,
    )
    assert document["encoder"]["feature_kind"] == "pooled" and len(document["encoder"]["id"]) == 12
    assert document["size_bytes"] == sum(path.stat().st_size for path in (made.root / "features").glob("*.tfrecord"))
    assert document["totals"]["rejected"] == 1


def test_inspect_a_captioner_and_captions(made, capsys):
    captioner = inspect(InspectOptions(made.captioner))
    assert captioner["vocabulary"] == captioner["model"]["vocabulary_size"] and captioner["metrics"] is None
    captions = inspect(InspectOptions(str(made.root / "captions")))
    assert captions["made_with"]["model_id"] == captioner["model_id"]
    assert captions["captions"] == 20 and captions["top_words"]
    said = capsys.readouterr().out
    assert "\nmodel_id" in said and "\ntop_words\n  word" in said


@pytest.mark.parametrize("output", ["features", "captions"])
def test_inspect_one_picture(made, output):
    directory = str(made.root / output)
    by_name = inspect(InspectOptions(directory, "03.jpg"))
    assert [Path(file["uri"]).name for file in by_name["files"]] == ["03.jpg"]
    assert inspect(InspectOptions(directory, by_name["sha256"])) == by_name
    assert inspect(InspectOptions(directory, by_name["sha256"][:12])) == by_name
    of_copy = inspect(InspectOptions(directory, "copy.jpg"))
    assert of_copy["sha256"] == inspect(InspectOptions(directory, "00.jpg"))["sha256"]
    if output == "features":
        assert by_name["captions"] == ["a dog runs"] and by_name["feature"]["shape"] == [2048]
    else:
        assert by_name["caption"] and by_name["score"] <= 0
    assert inspect(InspectOptions(directory, "broken.jpg"))["files"][0]["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "features", "none.jpg"], "no ledger speaks of none.jpg"),
        (["inspect", "captioner", "03.jpg"], "a captioner holds no pictures"),
        (["inspect", "photos"], "nothing of captionbeam's in there"),
        (["status", "nowhere"], "no such directory"),
        (["verify", "captioner"], "a captioner is not verified"),
        (["verify", "captions"], "give --captioner to caption a sample anew, or --sample 0"),
        (["verify", "of_features", "--captioner", "captioner"], "give --captioner and --features"),
        (["verify", "features", "--sample", "101%"], "101 is not between 0 and 100"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(made, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(made.root)
    with contextlib.suppress(SystemExit):
        assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


# verify


@given(st.sets(st.binary(min_size=4, max_size=4).map(bytes.hex), max_size=50), st.integers(0, 60), st.floats(0, 1))
def test_a_sample_depends_on_content_alone(contents, number, share):
    assert draw(sorted(contents), number) == draw(contents, number) <= contents
    assert len(draw(contents, number)) == min(number, len(contents))
    assert draw(contents, share) <= draw(contents, 1.0) == contents
    assert draw(contents, 0.0) == set()
    if contents and share:
        assert draw(contents, share), "at least one"
        smaller = draw(contents, share / 2)
        assert smaller <= draw(contents, share)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [([1, 2], [2, 4], 1.0), ([1, 0], [0, 1], 0.0), ([0, 0], [0, 0], 1.0), ([0, 0], [0, 1], 0.0), ([1], [1, 1], 0.0)],
)
def test_cosine(one, two, expected):
    assert cosine(np.array(one), np.array(two)) == pytest.approx(expected)


@pytest.mark.parametrize("chosen", [1.0, 7, 0])
def test_what_is_as_it_was_made_is_verified(made, capsys, chosen):
    compared = 20 if chosen == 1.0 else chosen
    for name, options in (
        ("features", {}),
        ("captions", {"captioner": made.captioner, "weights": made.weights}),
        ("of_features", {"captioner": made.captioner, "features": str(made.root / "features")}),
    ):
        before = times_of(made.root / name)
        found = verify(VerifyOptions(str(made.root / name), chosen, **options), load)
        assert (found.compared, found.identical, found.gone) == (compared, compared, 0)
        said = capsys.readouterr().out
        assert said.count("\n") == 1 and said.endswith("; nothing is wrong\n")
        assert times_of(made.root / name) == before


def test_pictures_that_are_gone_are_no_error(made, copy, capsys, monkeypatch):
    directory = copy("features")
    first = made.photos / "05.jpg"
    monkeypatch.setattr("beam_pipeline.inputs.reader.stat_file", lambda uri: _gone(uri, str(first)))
    found = verify(VerifyOptions(str(directory), 1.0), load)
    assert (found.compared, found.gone) == (19, 1)


def _gone(uri, which):
    from beam_pipeline.inputs.sources import stat_file

    if uri == which:
        raise FileNotFoundError(uri)
    return stat_file(uri)


def wrong(capsys, options: VerifyOptions, load=load) -> str:
    """Verifies what is not right; returns the lines that say so."""
    with pytest.raises(JobFailed, match=r"; \d+ problems$"):
        verify(options, load)
    return capsys.readouterr().out


class OtherColour(MeanColour):
    def encode(self, pixels):
        return super().encode(pixels)[:, ::-1]


def test_another_feature_is_found(made, capsys):
    said = wrong(capsys, VerifyOptions(str(made.root / "features"), 3), lambda spec: OtherColour())
    assert said.count("its stored feature is another one (cosine 0.0000)") == 3


def test_another_caption_is_found(made, copy, capsys):
    directory = copy("captions")
    for path in directory.glob("captions-*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({**row, "caption": "something else"}) + "\n" for row in rows))
    options = VerifyOptions(str(directory), 2, captioner=made.captioner, weights=made.weights)
    assert wrong(capsys, options).count('"something else" is stored') == 2


def damage_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("output", "name", "damage", "said"),
    [
        ("features", ShardId(1, 1, 5).features(), damage_one_byte, "its checksum is not that of the manifest"),
        ("features", ShardId(1, 1, 5).features(), os.remove, "is missing"),
        ("features", ShardId(1, 1, 5).ledger(), os.remove, "is missing"),
        ("captions", ShardId(1, 0, 1).captions(), os.remove, "missing or damaged"),
        ("captions", ShardId(1, 0, 1).words(), os.remove, "is missing; run caption again"),
        ("captions", ShardId(1, 0, 1).captions(), lambda path: path.write_text(""), "0 captions, 20 by its summary"),
        (
            "captions",
            ShardId(1, 0, 1).captions(),
            lambda path: path.write_text(path.read_text().splitlines(keepends=True)[0] + path.read_text()),
            "holds 1 pictures twice",
        ),
    ],
)
def test_damage_is_found(copy, capsys, output, name, damage, said):
    directory = copy(output)
    damage(directory / name)
    assert said in wrong(capsys, VerifyOptions(str(directory), 0))


def test_totals_that_do_not_add_up_are_found(copy, capsys):
    directory = copy("features")
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["totals"]["listed"] += 1
    (directory / MANIFEST).write_text(json.dumps(manifest))
    assert "the ledger does not balance: 23 listed, 22 accounted for" in wrong(capsys, VerifyOptions(str(directory), 0))


def test_other_weights_or_another_captioner_are_refused(made, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"\x89HDF\r\n\x1a\nother")
    with pytest.raises(UserError, match="made with InceptionV3"):
        verify(VerifyOptions(str(made.root / "features"), 1, weights=str(other)), load)
