"""The command of worker processes, and the directory that tells them whether their job still runs."""

import os
import shlex
import sys

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


@pytest.mark.parametrize("fails", [False, True])
def test_workers_are_told_the_job_whose_directory_ends_with_it(monkeypatch, pipeline, fails):
    commands = []

    def run(self, pipeline, options):
        command = shlex.split(pipeline.components.environments["process"].payload.decode())
        assert os.path.isdir(command[3])
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
    ((*start, job, launcher, verbose),) = commands
    assert start == [sys.executable, "-m", "beam_pipeline.runtime.worker_process"]
    assert not os.path.exists(job)
    assert (launcher, verbose) == (str(os.getpid()), "0")
