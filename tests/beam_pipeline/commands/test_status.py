import json
import shlex

import pytest

from beam_pipeline.cli import main
from beam_pipeline.commands.status import status, train_arguments
from beam_pipeline.options.directories import StatusOptions
from beam_pipeline.shards.shard_id import ShardId, pruned_mark
from training.errors import UserError
from training.files import locked
from training.fitting.state import Stage, TrainingState
from training.own_names import MANIFEST


def test_a_finished_feature_set(made, times_of, capsys):
    directory = made.root / "features"
    before = times_of(directory)
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["running now"] == "no"
    assert entries["inputs"] == "22 = 20 done + 1 duplicate + 1 rejected"
    assert entries["  rejected"].startswith("1 decode: ")
    assert entries["shards"] == "5 finished" and "  unfinished" not in entries
    assert entries["finished"].startswith(
        f"to add what is new: captionbeam extract --images ... --output {directory} --weights "
    )
    assert entries["last written"].endswith(" s ago")
    assert capsys.readouterr().out.splitlines()[0] == f"feature set   {directory}"
    assert times_of(directory) == before


def test_a_killed_run(copy):
    directory = copy("features")
    (directory / ShardId(1, 2, 5).ledger()).unlink()
    (directory / MANIFEST).unlink()
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["  unfinished"] == "run 1: 1 of 5 shards is missing"
    assert entries["shards"] == "4 finished"
    assert entries["manifest.json"] == "does not list 4 finished shards yet; the next run adds them"
    assert entries["continue with"].startswith("captionbeam extract --images ... ")


def test_a_prune_that_was_killed_before_it_wrote_the_manifest(copy):
    """As many shards as the manifest lists count now, but others."""
    directory = copy("features")
    for index in range(5):
        data = (directory / ShardId(1, index, 5).ledger()).read_bytes()
        (directory / ShardId(2, index, 5).ledger()).write_bytes(data)
    (directory / pruned_mark(2)).touch()
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["manifest.json"] == "does not list 5 finished shards yet; the next run adds them"
    assert "finished" not in entries and "  lost" not in entries


@pytest.mark.parametrize("kind", ["features", "captions"])
def test_lost_and_changed_ledgers_are_named(copy, kind):
    directory = copy(kind)
    first, *others = sorted(directory.glob("ledger-*"))
    first.unlink()
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["  lost"] == f"{first.name}; the next run makes the shard again"
    for ledger in others:
        ledger.unlink()
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["  lost"].startswith(first.name) and (" other ledger" in entries["  lost"]) == bool(others)
    assert "finished" not in entries and "continue with" in entries
    first.touch()
    with pytest.raises(UserError, match=rf"{first.name}: changed since it was written"):
        status(StatusOptions(str(directory)))
    first.unlink()
    first.mkdir()
    with pytest.raises(UserError, match=rf"{first.name}: "):
        status(StatusOptions(str(directory)))


def test_it_says_whether_a_job_runs(copy):
    directory = copy("captions")
    with locked(str(directory)):
        entries = dict(status(StatusOptions(str(directory))))
    assert entries["running now"] == "yes"
    assert entries["continue with"] == "nothing: a job is running"


def test_captions(made, copy):
    entries = dict(status(StatusOptions(str(made.root / "captions"))))
    assert entries["inputs"] == "22 = 20 done + 1 duplicate + 1 rejected"
    assert "in 20 captions" in entries["words"]
    assert "--images ... --captioner ... --output" in entries["finished"] and "--beam-width 3" in entries["finished"]
    killed = copy("captions")
    summary = json.loads((killed / "summary.json").read_text())
    (killed / "summary.json").write_text(json.dumps({"made_with": summary["made_with"]}))
    entries = dict(status(StatusOptions(str(killed))))
    assert entries["words"].startswith("not counted yet") and "finished" not in entries


@pytest.mark.parametrize("name", ["captions", "of_features", "features"])
def test_the_command_that_adds_what_is_new_works_once_its_inputs_are_filled_in(made, copy, files_of, name):
    directory = copy(name)
    before = files_of(directory)
    (_, line) = dict(status(StatusOptions(str(directory))))["finished"].split(": ", 1)
    inputs = {
        "--images": made.photos,
        "--features": made.root / "features",
        "--captioner": made.captioner,
        "--captions": made.root / "captions.csv",
    }
    words = shlex.split(line)[1:]
    arguments = [str(inputs[words[place - 1]]) if word == "..." else word for place, word in enumerate(words)]
    assert main(arguments) == 0
    assert files_of(directory).items() >= before.items()  # and the page


def test_the_command_that_continues_names_every_setting_that_decides(copy, edit_document):
    directory = copy("captions")
    made_with = json.loads((directory / "summary.json").read_text())["made_with"]
    edit_document(directory / "summary.json", made_with={**made_with, "min_confidence": 0.25}, weights="")
    finished = dict(status(StatusOptions(str(directory))))["finished"]
    assert finished.endswith("--min-confidence 0.25")


def test_a_captioner_in_training(made):
    entries = dict(status(StatusOptions(made.captioner)))
    assert entries["model"] == "merge"
    command = f"captionbeam train --features ... --output {made.captioner} --model merge --seed 3"
    assert entries["continue with"] == command


def test_progress_of_a_training(copy):
    directory = copy("captioner")
    state = TrainingState(epoch=4, step=1, stage=Stage.CROSS_ENTROPY, best=0.5123, best_epoch=3, history=[0.1] * 4)
    state.save(str(directory))
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["epochs"] == "4 done, of at most 7 and then 0 self-critical; 1 step of the next"
    assert entries["best"] == "epoch 3, validation CIDEr 51.2"
    assert entries["word-presence head"] == "not yet, or made by an earlier captionbeam"
    (directory / "presence.json").symlink_to(directory / "nothing")
    with pytest.raises(UserError, match=r"presence.json: "):
        status(StatusOptions(str(directory)))


def test_a_finished_training_is_told_by_its_metrics(copy):
    directory = copy("captioner")
    metrics = {"dev_cider": 0.6471, "best_epoch": 6, "epochs": 7}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    entries = dict(status(StatusOptions(str(directory))))
    assert entries["epochs"] == "7 done, of at most 7 and then 0 self-critical"
    assert entries["best"] == "epoch 6, validation CIDEr 64.7"
    assert entries["finished"].startswith("trained by captionbeam train ")
    (directory / "metrics.json").write_text("[]")
    with pytest.raises(UserError, match=r"metrics.json: expected an object, .*; remove it and run"):
        status(StatusOptions(str(directory)))


def test_only_the_settings_that_differ_from_the_defaults_are_repeated():
    trained_with = {"model": "merge", "seed": 0, "epochs": 7, "output_dropout": 0.5, "glove": None, "content": {}}
    assert train_arguments(trained_with) == ["--model", "merge", "--output-dropout", "0.5"]


def test_a_directory_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such directory, or it is empty; give a directory that extract"):
        status(StatusOptions(str(tmp_path / "nowhere")))


def test_damaged_captions_are_named(copy):
    directory = copy("captions")
    (directory / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"summary.json: not JSON .*; remove it and run the same captionbeam caption"):
        status(StatusOptions(str(directory)))
