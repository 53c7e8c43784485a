"""A second run, killed at any moment: readers see results of a finished state, never a mix.

A prune follows a run without it, so the states are those before, between and after.

Then the same command ends with the files of an undisturbed second run.
"""

import json
import random
import shutil
import signal
from pathlib import Path

import pytest

from beam_pipeline.commands.inspect import inspect
from beam_pipeline.commands.status import status
from beam_pipeline.exports.export import export
from beam_pipeline.options.directories import InspectOptions, StatusOptions
from beam_pipeline.options.results import ExportOptions, ReportOptions
from beam_pipeline.reports.report import report
from beam_pipeline.shards.feature_shard import read_feature_shard
from training.data.feature_set import load_feature_set

pytestmark = pytest.mark.faults

KILLS = 6  # at seeded points of a run, and again among its last ones, where results are put in force
LAST = 36


def change(photos: Path) -> None:
    """Some pictures come, one goes, and a few move."""
    for number in range(30, 36):
        (photos / f"{number}.png").rename(photos / f"moved{number}.png")
    (photos / "05.png").unlink()
    (photos / "copy.png").unlink()
    for number in range(10):
        data = (photos / f"{number + 10}.png").read_bytes()
        (photos / f"new{number}.png").write_bytes(data + b"%d" % number)  # what follows a PNG's end is no part of it


def state_of_captions(output: str, scratch: Path) -> str:
    """All that the commands which read captions say of them."""
    said = status(StatusOptions(output))
    assert dict(said)["running now"] == "no"
    document = inspect(InspectOptions(output))
    row = json.loads(next(Path(output).glob("captions-0*.jsonl")).read_text().splitlines()[0])
    export(ExportOptions(output, "csv", output=str(scratch / "export.csv")))
    report(ReportOptions(output, output=str(scratch / "report.html")))
    assert row["caption"] in (scratch / "report.html").read_text()
    Path(output, "thumbnails.zip").unlink()  # made by the report
    totals = {name: n for name, n in document.pop("totals").items() if not name.startswith("new_")}
    return json.dumps([document | {"path": ""}, totals]) + (scratch / "export.csv").read_text()


def state_of_features(output: str, scratch: Path) -> str:
    """All that the stages which read features find in them."""
    status(StatusOptions(output))
    features = load_feature_set(output)
    records = [record for path in features.shard_paths() for record in read_feature_shard(path)]
    totals = {name: n for name, n in features.totals.items() if not name.startswith("new_")}
    return json.dumps([totals, sorted((one.sha256, one.uris, one.feature.tolist()[:3]) for one in records)])


@pytest.mark.parametrize("prune", [False, True], ids=["new pictures", "prune"])
@pytest.mark.parametrize("name", ["extract", "caption"])
def test_a_killed_second_run_leaves_a_finished_state(server, undisturbed, photos, files_of, tmp_path, name, prune):
    mine, first, whole = (tmp_path / folder for folder in ("photos", "first", "whole"))
    shutil.copytree(photos, mine)
    chosen = {**undisturbed.options[name], "images": str(mine)}
    status_of_job, job = server.run(name, {**chosen, "output": str(first)})
    assert status_of_job == 0, job.said()
    change(mine)
    state_of = {"extract": state_of_features, "caption": state_of_captions}[name]
    states = [state_of(str(first), tmp_path)]
    shutil.copytree(first, whole)
    if prune:
        between = tmp_path / "between"
        shutil.copytree(first, between)
        status_of_job, job = server.run(name, {**chosen, "output": str(between)})
        assert status_of_job == 0, job.said()
        states.append(state_of(str(between), tmp_path))
    chosen["prune"] = prune
    status_of_job, job = server.run(name, {**chosen, "output": str(whole)})
    assert status_of_job == 0, job.said()
    points = job.points_passed()
    states.append(state_of(str(whole), tmp_path))
    assert len(set(states)) == len(states)
    draw = random.Random(f"{name} {prune}")
    for point in {*draw.sample(range(points), KILLS), *draw.sample(range(points - LAST, points), KILLS)}:
        output = tmp_path / f"killed at {point}"
        shutil.copytree(first, output)
        options = {**chosen, "output": str(output)}
        status_of_job, job = server.run(name, options, {"kill_at": point})
        assert status_of_job in (0, -signal.SIGKILL), job.said()
        assert state_of(str(output), tmp_path) in states, f"killed at {point} of {points}"
        status_of_job, job = server.run(name, options)
        assert status_of_job == 0, job.said()
        assert files_of(str(output)) == files_of(str(whole)), f"killed at {point} of {points}"
        shutil.rmtree(output)
