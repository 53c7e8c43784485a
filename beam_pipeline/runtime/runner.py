"""Runs a pipeline to its end: on the local runner, or on the one that Beam's options name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.grouping import GroupingOptions
from beam_pipeline.runtime.interrupts import is_stopping
from beam_pipeline.runtime.unexpected import written_trace
from training.errors import JobFailed, UserError

_LOCAL_RUNNER = "beam_pipeline.runtime.local_runner.LocalRunner"


@contextlib.contextmanager
def run_pipeline(options: PipelineOptions, output: str) -> Iterator[beam.Pipeline]:
    """Gives a pipeline to build, and runs it to its end when the block ends.

    Args:
      options: of Beam; without a runner, or with DirectRunner, the pipeline runs in this process.
      output: directory in which the local runner, which has nothing but memory, may spill what waits to be grouped.

    Raises:
      JobFailed: the pipeline failed; one line, with the file that has the stack trace.
      KeyboardInterrupt: the process was told to stop.
    """
    try:
        with contextlib.ExitStack() as stack:
            if options.view_as(StandardOptions).runner in (None, "DirectRunner", _LOCAL_RUNNER):
                # Beam's own DirectRunner would first try to download its Prism binary.
                options.view_as(StandardOptions).runner = _LOCAL_RUNNER
                grouping = options.view_as(GroupingOptions)
                grouping.spill_directory = stack.enter_context(storage.temporary_directory(output))
            yield stack.enter_context(beam.Pipeline(options=options))
    except Exception as error:
        if is_stopping():  # Beam wraps an interrupt in an error of its own
            raise KeyboardInterrupt from error
        raise JobFailed(one_line(error)) from error


_OWN_ERROR = re.compile(r"\b(?:UserError|JobFailed|Damaged|RemoteError|UnknownScheme): (.+)")
_DISK_FULL = re.compile(r"\[Errno 28\][^\n]*")


def one_line(error: Exception) -> str:
    """Exception of a pipeline, which carries the worker's stack trace as text -> one line for the user.

    The stack trace of an error that is none of ours is written to a file in the temporary directory, which the line
    names.
    """
    text = re.sub(r" \[while running '.*'\]$", "", str(error))  # Beam's note on where it was raised
    if isinstance(error, UserError):
        return text
    if own := _OWN_ERROR.search(text):
        return own[1]
    if full := _DISK_FULL.search(text):
        return f"the disk is full ({full[0]}); free some space and run again: finished shards are kept"
    cause = (_last_error_line(text) or type(error).__name__)[:300]
    return f"the pipeline failed: {cause}{written_trace(error)}; run again to continue from the finished shards"


def _last_error_line(text: str) -> str:
    """Stack trace -> its last line that begins with the name of an exception, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit|Interrupt)\b", line)]
    return next(reversed(errors or lines), "")
