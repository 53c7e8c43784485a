"""Runs a pipeline to its end, on the local runner or on the one that is asked for."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import traceback
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.grouping import GroupingOptions
from beam_pipeline.runtime.interrupts import is_stopping
from training.errors import JobFailed, UserError

_LOCAL_RUNNER = "beam_pipeline.runtime.local_runner.LocalRunner"


def run_pipeline(build: Callable[[beam.Pipeline], object], options: PipelineOptions, output: str) -> None:
    """Builds and runs a pipeline to its end.

    Args:
      output: where the local runner, which has memory alone, may spill what it has to hold.

    Raises:
      JobFailed: it failed; one line, the stack trace kept in a file that the line names.
    """
    runner = options.view_as(StandardOptions).runner
    try:
        with contextlib.ExitStack() as stack:
            if runner in (None, "DirectRunner", _LOCAL_RUNNER):
                # Beam's own DirectRunner would first try to download its Prism binary.
                options.view_as(StandardOptions).runner = _LOCAL_RUNNER
                grouping = options.view_as(GroupingOptions)
                grouping.spill_directory = stack.enter_context(storage.temporary_directory(output))
            with beam.Pipeline(options=options) as pipeline:
                build(pipeline)
    except Exception as error:
        if is_stopping():  # Beam makes an error of its own of it
            raise KeyboardInterrupt from error
        raise JobFailed(one_line(error)) from error


_KNOWN = re.compile(r"training\.errors\.\w+: (.+)|(?:JobFailed|UserError): (.+)")


_DISK_FULL = re.compile(r"\[Errno 28\][^\n]*")


def one_line(error: Exception) -> str:
    """A pipeline's exception, which carries the worker's stack trace as text -> what a person needs of it."""
    text = re.sub(r" \[while running '.*'\]$", "", str(error))  # Beam's note on where it was raised
    if isinstance(error, UserError):
        return text
    if known := _KNOWN.search(text):
        return known[1] or known[2]
    if full := _DISK_FULL.search(text):
        return f"the disk is full ({full[0]}); free some room and run again: finished shards are kept"
    handle, path = tempfile.mkstemp(prefix="captionbeam-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = next(
        (line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt)\b", line)),
        lines[-1] if lines else "",
    )
    what = (last or type(error).__name__)[:300]
    return f"the pipeline failed: {what}; details in {path}; run again to go on from the finished shards"
