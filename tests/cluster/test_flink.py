"""The installed command on a Flink cluster: the bytes of the local runner, also when a TaskManager dies meanwhile."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from beam_pipeline.cli import main
from beam_pipeline.demo.scenes import draw_collection

ROOT = Path(__file__).parents[2]


@dataclass
class Collection:
    """Pictures with captions, and what the local runner makes of them.

    Attributes:
      images, captions: for `extract`.
      weights: of the encoder; "random" or a path.
      shard_size: small, so that there are many shards.
      empty: a folder without files, in which commands are run.
      features, captioner, captioned: outputs of the local runner.
    """

    images: Path
    captions: Path
    weights: str
    shard_size: int
    empty: Path
    features: Path
    captioner: Path
    captioned: Path

    def extract(self, output: Path) -> list[str]:
        """Arguments of the command."""
        inputs = ["--images", str(self.images), "--captions", str(self.captions), "--weights", self.weights]
        return ["extract", *inputs, "--feature-kind", "pooled", *self._outputs(output)]

    def train(self) -> list[str]:
        inputs = ["--features", str(self.features), "--output", str(self.captioner)]
        return ["train", *inputs, "--model", "merge", "--epochs", "1", "--batch-size", "8"]

    def caption(self, output: Path) -> list[str]:
        inputs = ["--images", str(self.images), "--captioner", str(self.captioner)]
        if self.weights != "random":
            inputs += ["--weights", self.weights]
        # Links of a page depend on where it lies, so two pages differ.
        return ["caption", *inputs, *self._outputs(output), "--no-report"]

    def _outputs(self, output: Path) -> list[str]:
        return ["--output", str(output), "--shard-size", str(self.shard_size)]

    def start(self, arguments: list[str]) -> subprocess.Popen:
        command = [sys.executable, "-m", "beam_pipeline.cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.empty, env=environment, stdout=pipe, stderr=pipe, text=True)

    def end(self, job: subprocess.Popen) -> None:
        _, said = job.communicate(timeout=3600)
        assert job.returncode == 0, said[-3000:]


def drawn(folder: Path) -> tuple[Path, Path, str, int]:
    draw_collection(folder, pictures=40)
    return folder / "images", folder / "captions.txt", "random", 4


def photos(folder: Path, data: Path) -> tuple[Path, Path, str, int]:
    """1,000 of Flickr8k's."""
    flickr = data / "flickr8k"
    chosen = random.Random(0).sample(sorted((flickr / "Images").glob("*.jpg")), 1000)
    (folder / "photos.txt").write_text("".join(f"{path}\n" for path in chosen))
    [weights] = (data / "inception_v3").glob("*.h5")
    return folder / "photos.txt", flickr / "captions.txt", str(weights), 50


@pytest.fixture(scope="module", params=["drawn", pytest.param("photos", marks=pytest.mark.slow)])
def collection(request, tmp_path_factory) -> Collection:
    folder = tmp_path_factory.mktemp(request.param)
    found = drawn(folder) if request.param == "drawn" else photos(folder, request.getfixturevalue("shared_data"))
    (folder / "empty").mkdir()
    made = Collection(*found, folder / "empty", *(folder / name for name in ("features", "captioner", "captioned")))
    for arguments in (made.extract(made.features), made.train(), made.caption(made.captioned)):
        assert main(arguments) == 0
    return made


@pytest.mark.slow
def test_extract_gives_the_same_bytes(flink, collection, files_of, tmp_path):
    collection.end(collection.start([*collection.extract(tmp_path / "features"), *flink.options()]))
    assert flink.jobs()[-1]["state"] == "FINISHED"
    assert files_of(str(tmp_path / "features"), whole=True) == files_of(str(collection.features), whole=True)


def test_caption_gives_the_same_bytes_though_a_task_manager_dies(flink, collection, files_of, tmp_path):
    """Killed when the first shard is committed, which is before the last one is."""
    output = tmp_path / "captioned"
    job = collection.start([*collection.caption(output), *flink.options()])
    while not list(output.glob("ledger-*.jsonl")):
        assert job.poll() is None, job.communicate()
        time.sleep(0.02)
    flink.kill_task_manager()
    committed = len(list(output.glob("ledger-*.jsonl")))
    collection.end(job)
    assert committed < len(list(output.glob("ledger-*.jsonl")))

    ended = flink.jobs()[-1]
    assert ended["state"] == "FINISHED"
    failures = flink.ask(f"jobs/{ended['jid']}/exceptions")["exceptionHistory"]["entries"]
    assert failures, "the job never noticed"
    assert files_of(str(output), whole=True) == files_of(str(collection.captioned), whole=True)
    totals = json.loads((output / "summary.json").read_text())["totals"]
    assert totals["listed"] == totals["done"] + totals["duplicate"] + totals["rejected"] > 0
