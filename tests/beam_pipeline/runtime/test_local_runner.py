"""The command of worker processes, and the directory that tells them whether their job still runs."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_pipeline.runtime.local_runner import LocalRunner


@pytest.fixture
def pipeline():
    pipeline = beam_runner_api_pb2.Pipeline()
    pipeline.components.environments["process"].urn = python_urns.SUBPROCESS_SDK
    pipeline.components.environments["thread"].urn = python_urns.EMBEDDED_PYTHON_GRPC
    return pipeline


def arguments_of(command: list[str]) -> list:
    """Command of a worker -> import path, directory of the job, id of its process, whether it is verbose."""
    return json.loads(command[-1])


@pytest.mark.parametrize("fails", [False, True])
def test_workers_are_told_the_job_whose_directory_ends_with_it(monkeypatch, pipeline, fails):
    commands = []

    def run(self, pipeline, options):
        command = shlex.split(pipeline.components.environments["process"].payload.decode())
        assert os.path.isdir(arguments_of(command)[1])
        assert not pipeline.components.environments["thread"].payload
        commands.append(command)
        if fails:
            raise RuntimeError("a bug")
        return "result"

    monkeypatch.setattr(FnApiRunner, "run_via_runner_api", run)
    if fails:
        with pytest.raises(RuntimeError, match="a bug"):
            LocalRunner().run_via_runner_api(pipeline, None)
    else:
        assert LocalRunner().run_via_runner_api(pipeline, None) == "result"
    (command,) = commands
    path, job, launcher, verbose = arguments_of(command)
    assert (command[0], path) == (sys.executable, sys.path)
    assert not os.path.exists(job)
    assert (launcher, verbose) == (os.getpid(), False)


JOB = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipeline.runtime.runner import run_pipeline

def write(number):
    with open(f"{number}.txt", "w") as file:
        file.write(str(os.getpid()))

options = PipelineOptions(["--direct_running_mode=multi_processing", "--direct_num_workers=2"])
with run_pipeline(options, ".") as pipeline:
    pipeline | beam.Create([1, 2]) | beam.Map(write)
print(os.getpid())
"""


def test_a_worker_imports_what_its_job_imports_and_nothing_of_the_current_folder(tmp_path: Path):
    (tmp_path / "training.py").write_text("raise SystemExit('not ours')")
    path = [os.path.abspath(place) for place in sys.path if place]
    command = [sys.executable, "-c", JOB, json.dumps(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    workers = {(tmp_path / f"{number}.txt").read_text() for number in (1, 2)}
    assert done.stdout.strip() not in workers
