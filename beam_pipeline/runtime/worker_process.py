"""A worker of the local runner, in a process of its own, which `local_runner` starts."""

from __future__ import annotations

import os
import signal
import threading
import time

from beam_pipeline.runtime.logs import set_up_logging

_PAUSE_SECONDS = 0.25


def main(job: str, launcher: int, verbose: bool) -> None:
    """Works for Beam until the job is over.

    Args:
      job: directory that exists as long as the job runs.
      launcher: id of the process that runs the job.
      verbose: whether to show messages of Beam and TensorFlow.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the launching one decides
    threading.Thread(target=_end_with, args=(job, launcher), daemon=True).start()
    set_up_logging(verbose)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _end_with(job: str, launcher: int) -> None:
    while os.path.isdir(job) and _is_alive(launcher):
        time.sleep(_PAUSE_SECONDS)
    # Nobody waits for its answer any more; what it was writing is under a temporary name.
    os._exit(0)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
