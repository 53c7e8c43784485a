"""Beam's local runner, with worker processes that are quiet, never outlive their job, and end it when they die.

Its ports are open to this machine only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.portability.api import beam_runner_api_pb2 as RunnerApi
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ControlFuture,
    GrpcWorkerHandler,
    WorkerHandler,
)
from google.protobuf import json_format, text_format

from beam_pipeline.runtime.interrupts import on_stop
from beam_pipeline.runtime.isolated_process import cause_of_death
from beam_pipeline.runtime.logs import is_verbose
from beam_pipeline.runtime.python_process import python_command
from beam_pipeline.runtime.worker_process import main
from training.clock import time_limit
from training.errors import JobFailed

_URN = "captionbeam:worker_process"
_PAUSE_SECONDS = 0.5
STOPPED_SECONDS = 30.0  # that a worker may be stopped while its job is not
_END_SECONDS = 5.0  # for a worker to end once its job is over


_deaths: dict[bytes, str] = {}  # what happened to the first worker of a job that died


class LocalRunner(FnApiRunner):
    """Runs a pipeline on this machine, its worker processes started by a command of our own."""

    def run_via_runner_api(self, pipeline_proto: RunnerApi.Pipeline, options: PipelineOptions) -> RunnerResult:
        """Runs a pipeline to its end; its worker processes end with it, however it ends.

        Raises:
          JobFailed: a worker process died.
        """
        job = uuid.uuid4().bytes
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.urn, environment.payload = _URN, job
        try:
            with _quiet_threads(), _ports_of_this_machine():
                return super().run_via_runner_api(pipeline_proto, options)
        except Exception as error:
            if why := _deaths.get(job):
                raise JobFailed(f"{why}; run again to continue from the finished shards") from error
            raise
        finally:
            _deaths.pop(job, None)


@WorkerHandler.register_environment(_URN, bytes)
class _WorkerProcess(GrpcWorkerHandler):
    """What Beam's `SubprocessSdkWorkerHandler` does, without a shell, and with an end where the process has one.

    Beam's waits for ever for the answer of a worker that was killed.
    """

    def __init__(self, job: bytes, *arguments: Any):
        super().__init__(*arguments)
        self._job, self._unwanted = job, False

    def start_worker(self) -> None:
        options = self.provision_info.provision_info.pipeline_options
        environment = {
            **os.environ,
            "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        command = python_command(f"{main.__module__}:{main.__name__}", [os.getpid(), is_verbose()])
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
        self._watcher = threading.Thread(target=self._watch, name="watch_worker", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        try:
            super().close()
        finally:  # also where the connection to it is broken
            self.stop_worker()

    def stop_worker(self) -> None:
        with time_limit(_END_SECONDS, self._end):
            self._watcher.join()

    def _end(self) -> None:
        self._unwanted = True
        self._process.kill()

    def _watch(self) -> None:
        """Waits for the end of the process; after a death, answers in its place."""
        with on_stop(self._end):
            stopped = 0.0
            while self._process.poll() is None:
                time.sleep(_PAUSE_SECONDS)  # which lasts longer where the whole job is stopped, and counts the same
                stopped = stopped + _PAUSE_SECONDS if _is_stopped(self._process.pid) else 0.0
                if stopped >= STOPPED_SECONDS:
                    self._process.kill()
                    self._process.wait()
        if self._process.returncode == 0 or self._unwanted:
            return
        cause = cause_of_death(self._process.returncode)
        why = f"was stopped for {STOPPED_SECONDS:g} s" if stopped >= STOPPED_SECONDS else f"ended ({cause})"
        self._fail(_deaths.setdefault(self._job, f"a worker process {why}"))

    def _fail(self, why: str) -> None:
        """Answers all that Beam has asked the worker, and will ask it, with an error."""
        connection: Any = self.control_conn
        push = connection.push

        def push_in_vain(request: Any) -> ControlFuture | None:
            future = push(request)
            if future is not None:
                _answer(future, why)
            return future

        connection.push = push_in_vain
        for future in list(connection._futures_by_id.values()):
            _answer(future, why)


def _answer(future: ControlFuture, error: str) -> None:
    future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id, error=error))


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """While entered, threads of Beam that lose their connection to a worker print no stack trace."""
    shown = threading.excepthook

    def show(failure: threading.ExceptHookArgs) -> None:
        if is_verbose() or not issubclass(failure.exc_type, grpc.RpcError):
            shown(failure)

    threading.excepthook = show
    try:
        yield
    finally:
        threading.excepthook = shown


@contextlib.contextmanager
def _ports_of_this_machine() -> Iterator[None]:
    """While entered, the ports that Beam opens for its workers are open to this machine only; Beam's are to all.

    Whoever reaches one can have the job run code, or send any file.
    """

    def server(*arguments: Any, **options: Any) -> grpc.Server:
        made = grpc.server(*arguments, **options)
        add = made.add_insecure_port
        made.add_insecure_port = lambda address: add(address.replace("[::]", "localhost"))
        return made

    worker_handlers.grpc = SimpleNamespace(**{**vars(grpc), "server": server})
    try:
        yield
    finally:
        worker_handlers.grpc = grpc


def _is_stopped(pid: int) -> bool:
    """Whether a process has been stopped by a signal; False where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"T"
    except OSError:
        return False
