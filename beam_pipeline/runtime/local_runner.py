"""Beam's local runner, with worker processes that are quiet and never outlive their job."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from beam_pipeline.runtime import worker_process
from beam_pipeline.runtime.interrupts import leaving
from beam_pipeline.runtime.logs import is_verbose


class LocalRunner(FnApiRunner):
    """Beam's own, but for the command that starts a worker process (--direct_running_mode multi_processing)."""

    def run_via_runner_api(self, pipeline_proto, options):
        job = tempfile.mkdtemp(prefix="captionbeam-job-")

        def end_job() -> None:
            shutil.rmtree(job, ignore_errors=True)

        command = [sys.executable, "-m", worker_process.__name__, job, str(os.getpid()), str(int(is_verbose()))]
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = shlex.join(command).encode()
        try:
            with leaving(end_job):
                return super().run_via_runner_api(pipeline_proto, options)
        finally:
            end_job()
