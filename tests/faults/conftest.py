"""Jobs that are killed, starved of disk or started twice, and what an undisturbed one leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = 40


@dataclass
class Job:
    """A started job."""

    server: "Server"
    pid: int
    log: Path
    points: Path

    def wait(self) -> int:
        """Exit status; minus the signal's number for a killed one."""
        return self.server.ask({"wait": self.pid})["status"]

    def said(self) -> str:
        return self.log.read_text()

    def points_passed(self) -> int:
        return self.points.stat().st_size

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Returns when something has happened, or the job has ended."""
        while self.state() != "Z" and not happened():
            time.sleep(0.01)

    def state(self) -> str:
        """R, S or D while it runs, T when it is stopped, Z when it has ended."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


class Server:
    """See `job_server.py`.

    Args:
      folder: for logs.
      command: that the server is started with.
    """

    def __init__(self, folder: Path, command: tuple[str, ...] = ()):
        self.folder, self.jobs = folder, 0
        variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [*command, sys.executable, str(Path(__file__).with_name("job_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **variables},
        )
        assert self.ask({"ready": True}) == {"ready": True}

    def ask(self, question: dict) -> dict:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, stage: str, options: dict, fault: dict | None = None) -> Job:
        self.jobs += 1
        log, points = (self.folder / f"{self.jobs}.{kind}" for kind in ("log", "points"))
        points.touch()
        job = {"stage": stage, "options": options, "fault": fault or {}, "log": str(log), "points": str(points)}
        return Job(self, self.ask(job)["pid"], log, points)

    def run(self, stage: str, options: dict, fault: dict | None = None) -> tuple[int, Job]:
        job = self.start(stage, options, fault)
        return job.wait(), job

    def kill_after(self, stage: str, options: dict, points: int) -> int:
        """Starts a job and kills it some moment after it has passed so many fault points -> its status."""
        job = self.start(stage, options)
        job.wait_for(lambda: job.points_passed() >= points)
        os.kill(job.pid, signal.SIGKILL)  # one that has ended is still there until it is waited for
        return job.wait()

    def folder_inside(self, folder: Path) -> Path:
        """A folder as the server's processes see it, who may have mounts of their own."""
        return Path(f"/proc/{self._process.pid}/root{folder}")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Undisturbed:
    """Jobs as they should end: by stage the options without output, the files, and the number of fault points."""

    options: dict[str, dict]
    files: dict[str, dict[str, bytes]]
    points: dict[str, int]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("jobs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def photos(tmp_path_factory, draw_squares) -> Path:
    """40 pictures of one colour each, a copy of one, a broken one, and captions of all."""
    folder = tmp_path_factory.mktemp("photos")
    captions = ["image,caption"]
    for name, (red, _, blue) in draw_squares(folder, PICTURES).items():
        words = ("dark" if red < 128 else "light", "blue" if blue > 128 else "green")
        captions.append(f"{name},a {words[0]} {words[1]} square")
    (folder / "captions.csv").write_text("\n".join(captions) + "\n")
    return folder


@pytest.fixture(scope="session")
def undisturbed(server, photos, files_of, tmp_path_factory) -> Undisturbed:
    """Every stage, run on what the one before it made."""
    outputs = tmp_path_factory.mktemp("undisturbed")
    weights = outputs / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    features, captioner = str(outputs / "extract"), str(outputs / "train")
    options = {
        "extract": {
            "images": str(photos),
            "captions": str(photos / "captions.csv"),
            "weights": str(weights),
            "feature_kind": "pooled",
            "precision": "float32",
            "shard_size": 6,
        },
        "train": {
            "features": features,
            "model": "merge",
            "epochs": 3,
            "batch_size": 2,
            "embedding_size": 8,
            "hidden_size": 16,
            "min_count": 1,
            "max_words": 6,
            "checkpoint_steps": 4,
        },
        "caption": {"images": str(photos), "captioner": captioner, "weights": str(weights), "shard_size": 6},
        "caption of features": {"features": features, "captioner": captioner},
    }
    ends = Undisturbed(options, {}, {})
    for name, chosen in options.items():
        output = str(outputs / name)
        status, job = server.run(name.split()[0], {**chosen, "output": output})
        assert status == 0, job.said()
        ends.files[name], ends.points[name] = files_of(output), job.points_passed()
    return ends


@pytest.fixture(scope="session")
def start_server():
    return Server
