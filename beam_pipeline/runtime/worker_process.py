"""A worker of the local runner, in a process of its own, which `local_runner` starts."""

from __future__ import annotations

import os
import signal

from beam_pipeline.runtime.logs import set_up_logging
from beam_pipeline.runtime.python_process import end_with_parent

_WITHOUT_PROXY = "no_grpc_proxy"  # gRPC's variable, which goes before no_proxy
_LOOPBACK = "localhost,127.0.0.1,::1"


def main(launcher: int, verbose: bool) -> None:
    """Works for Beam until the job is over.

    Args:
      launcher: id of the process that runs the job.
      verbose: whether to show messages of Beam and TensorFlow.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the launching one decides
    end_with_parent(launcher)  # what it is writing is under a temporary name
    _bypass_proxy()
    set_up_logging(verbose)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


def _bypass_proxy() -> None:
    """Has gRPC speak to the launching process directly; it would ask a proxy that `http_proxy` names even for that."""
    without_proxy = os.environ.get(_WITHOUT_PROXY, os.environ.get("no_proxy", ""))
    os.environ[_WITHOUT_PROXY] = ",".join(filter(None, (without_proxy, _LOOPBACK)))
