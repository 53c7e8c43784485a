"""Second runs that are killed: readers find the results of a finished run, and the same command ends the work.

A prune follows a run without it, so its readers may find what was before it, after that run, or at the end.
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

KILLS = 3  # at seeded points of a run, and as many among its last ones, where results are put in force
LAST = 36


def change(photos: Path) -> None:
    """Six pictures move, one goes and so does a copy, and ten come."""
    for number in range(30, 36):
        (photos / f"{number}.png").rename(photos / f"moved{number}.png")
    (photos / "05.png").unlink()
    (photos / "copy.png").unlink()
    for number in range(10):
        data = (photos / f"{number + 10}.png").read_bytes()
        (photos / f"new{number}.png").write_bytes(data + b"%d" % number)  # what follows a PNG's end is no part of it


def found_by_readers(output: str, scratch: Path) -> str:
    """All that commands which read a directory find there, but for what its last run did."""
    status(StatusOptions(output))
    found = inspect(InspectOptions(output))
    totals = {name: number for name, number in found.pop("totals").items() if not name.startswith("new_")}
    if found["kind"] == "captions":
        export(ExportOptions(output, "csv", output=str(scratch / "captions.csv")))
        report(ReportOptions(output, output=str(scratch / "report.html")))
        Path(output, "thumbnails.zip").unlink()  # of the report
        content = (scratch / "captions.csv").read_text()
    else:
        del found["unlisted_files"]  # what the killed run made
        records = [one for path in load_feature_set(output).shard_paths() for one in read_feature_shard(path)]
        content = [(one.sha256, one.uris, one.captions, one.feature.tolist()[:3]) for one in records]
    return json.dumps([found | {"path": ""}, totals, content])


@pytest.mark.parametrize("name", ["extract", "caption"])
def test_a_killed_second_run(server, undisturbed, photos, files_of, tmp_path, name):
    mine = tmp_path / "photos"
    shutil.copytree(photos, mine)

    def run(output: Path, prune: bool, fault: dict | None = None) -> int:
        """Runs the job -> number of fault points that it passed."""
        options = {**undisturbed.options[name], "images": str(mine), "output": str(output), "prune": prune}
        ended, job = server.run(name, options, fault)
        assert ended == 0 or (fault and ended == -signal.SIGKILL), job.said()
        return job.points_passed()

    first = tmp_path / "first"
    run(first, prune=False)
    change(mine)
    ends = [first, tmp_path / "second", tmp_path / "pruned"]
    draw = random.Random(name)
    for prune in (False, True):
        whole = ends[1 + prune]
        shutil.copytree(first, whole)
        end = run(whole, prune)
        states = [found_by_readers(str(end), tmp_path) for end in ends[: 2 + prune]]
        assert len(set(states)) == len(states)
        for point in draw.sample(range(end - LAST), KILLS) + draw.sample(range(end - LAST, end), KILLS):
            output = tmp_path / "killed"
            shutil.copytree(first, output)
            run(output, prune, {"kill_at": point})
            assert found_by_readers(str(output), tmp_path) in states, f"killed at {point} of {end}, prune {prune}"
            run(output, prune)
            assert files_of(str(output)) == files_of(str(whole)), f"killed at {point} of {end}, prune {prune}"
            shutil.rmtree(output)
