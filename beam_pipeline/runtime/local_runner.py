"""Beam's local runner, with worker processes that are quiet and never outlive their job."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as RunnerApi
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult

from beam_pipeline.runtime.interrupts import on_stop
from beam_pipeline.runtime.logs import is_verbose

# A worker imports what its job imports. `python -m` would look in the current folder first, whatever lies there.
_START = """
import json, sys
sys.path[:], *arguments = json.loads(sys.argv[1])
from beam_pipeline.runtime.worker_process import main
main(*arguments)
"""


class LocalRunner(FnApiRunner):
    """Runs a pipeline on this machine, its worker processes started by a command of our own."""

    def run_via_runner_api(self, pipeline_proto: RunnerApi.Pipeline, options: PipelineOptions) -> RunnerResult:
        """Runs a pipeline to its end; its worker processes end with it, however it ends."""
        job = tempfile.mkdtemp(prefix="captionbeam-job-")

        def end_job() -> None:
            shutil.rmtree(job, ignore_errors=True)

        command = [sys.executable, "-c", _START, json.dumps([sys.path, job, os.getpid(), is_verbose()])]
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = shlex.join(command).encode()
        try:
            with on_stop(end_job):
                return super().run_via_runner_api(pipeline_proto, options)
        finally:
            end_job()
