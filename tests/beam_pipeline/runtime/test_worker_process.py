"""A worker process ends with the job that it works for, and with the process that runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from beam_pipeline.runtime.worker_process import _end_with
_end_with(sys.argv[1], int(sys.argv[2]))
"""


@pytest.fixture
def start(tmp_path):
    processes = []

    def start(launcher: int) -> subprocess.Popen:
        processes.append(subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "job"), str(launcher)]))
        return processes[-1]

    (tmp_path / "job").mkdir()
    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def launcher():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_it_works_on_while_the_job_runs_and_ends_with_it(start, launcher, tmp_path):
    worker = start(launcher.pid)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(1)
    Path(tmp_path / "job").rmdir()
    assert worker.wait(60) == 0


def test_it_ends_with_the_process_that_runs_the_job(start, launcher):
    worker = start(launcher.pid)
    launcher.kill()
    launcher.wait()
    assert worker.wait(60) == 0
