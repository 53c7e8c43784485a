"""One run over an output directory: what stands there already, the lock, the runner, and the balance at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.pvalue import AsDict, AsList, PCollection, TaggedOutput

from beam_pipeline.inputs.sources import format_list_entry
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import NOTES_KEPT, count
from beam_pipeline.runtime.grouping import GroupingOptions
from beam_pipeline.runtime.interrupts import is_stopping
from beam_pipeline.shards.ledger import OUTCOMES, LedgerLine, rejected_inputs, to_jsonl
from beam_pipeline.shards.shard_id import (
    ShardId,
    UnfinishedRun,
    committed_shards,
    ledger_paths,
    new_run,
    unfinished_runs,
)
from training.errors import JobFailed, UserError
from training.files import locked

log = logging.getLogger("captionbeam")

REJECTED_LIST = "rejected.txt"
_LOCAL_RUNNER = "beam_pipeline.runtime.local_runner.LocalRunner"


@dataclass(frozen=True)
class Standing:
    """What a directory holds when a run begins.

    Attributes:
      committed: shards that have their ledger.
      unfinished: runs that still lack shards.
      next_run: number of the run that new work goes into.
      ledgers: paths of the committed ledgers, in run order.
    """

    committed: tuple[ShardId, ...]
    unfinished: tuple[UnfinishedRun, ...]
    next_run: int
    ledgers: tuple[str, ...]


@contextlib.contextmanager
def exclusive(directory: str) -> Iterator[None]:
    """Makes the directory and holds it for one run; on remote file systems nothing is locked.

    Raises:
      JobFailed: another run holds it, or it cannot be written.
    """
    storage.make_directory(directory)
    with storage.writing(directory), locked(directory):
        if storage.is_local(directory):
            storage.remove_temporary_files(directory)
        yield


def standing(directory: str, is_whole: Callable[[ShardId], bool] = lambda shard: True) -> Standing:
    """Directory -> Standing. The ledger of a shard that is not whole is removed, so that the shard is made again."""
    committed = []
    for shard in committed_shards(storage.list_directory(directory)):
        if is_whole(shard):
            committed.append(shard)
        else:
            storage.remove(storage.join(directory, shard.ledger()))
    # A run that has lost every ledger is numbered and cut anew, from the same inputs to the same shards.
    return Standing(
        committed=tuple(committed),
        unfinished=tuple(unfinished_runs(committed)),
        next_run=new_run(committed),
        ledgers=tuple(storage.join(directory, shard.ledger()) for shard in committed),
    )


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


def commit_shard(output: str, shard: ShardId, lines: Iterable[LedgerLine]) -> None:
    """Writes a shard's ledger; all that the shard holds must be written before."""
    ordered = sorted(lines, key=lambda line: line.uri)
    storage.write_atomic(storage.join(output, shard.ledger()), to_jsonl(ordered))


def count_outcomes(lines: Iterable[LedgerLine]) -> Iterator[TaggedOutput]:
    """Ledger lines of a shard -> the count of each outcome, and the same as Beam metrics for who watches the job."""
    for outcome, number in Counter(line.outcome for line in lines).items():
        Metrics.counter("captionbeam", outcome).inc(number)
        yield count(outcome, number)


@dataclass(frozen=True)
class Results:
    """All that a run's workers report: what they made, how often, and examples of oddities."""

    shards: list[Any]
    counts: dict[str, int]
    notes: dict[str, list[str]]


class GatherResults(beam.PTransform):
    """Pipeline -> one Results element, from shards, counts (name, n) and notes (kind, text)."""

    def __init__(self, shards: PCollection, counts: list[PCollection], notes: list[PCollection]):
        super().__init__()
        self.shards = shards
        self.counts = counts
        self.notes = notes

    def expand(self, pipeline):
        counts = self.counts | "AllCounts" >> beam.Flatten() | "SumCounts" >> beam.CombinePerKey(sum)
        notes = (
            self.notes | "AllNotes" >> beam.Flatten() | "FirstNotes" >> beam.combiners.Top.SmallestPerKey(NOTES_KEPT)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "Gather" >> beam.Map(_gather, AsList(self.shards), AsDict(counts), AsDict(notes))
        )


def _gather(_, shards: list[Any], counts: dict[str, int], notes: dict[str, list[str]]) -> Results:
    return Results(shards, counts, {kind: sorted(texts) for kind, texts in sorted(notes.items())})


def write_rejected(directory: str) -> str:
    """Writes `rejected.txt`, a list that `--images` takes, of what stays rejected; returns its path."""
    path = storage.join(directory, REJECTED_LIST)
    rejected = sorted(rejected_inputs(ledger_paths(directory)))
    storage.write_atomic(path, "".join(format_list_entry(uri) + "\n" for uri in rejected).encode())
    return path


def add_up(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of this run -> totals of the collection: earlier and new outcomes together, sorted by name."""
    counted = dict(counts)
    totals = {"listed": counted.pop("listed", 0)}
    for outcome in OUTCOMES:
        new = counted.pop(outcome, 0)
        totals[outcome] = new + counted.pop(f"earlier_{outcome}", 0)
        totals[f"new_{outcome}"] = new
    return totals | dict(sorted(counted.items()))


def check_balance(totals: Mapping[str, int], max_reject_rate: float, rejected_list: str) -> None:
    """The promise that every input is accounted for, and the limit on rejected ones.

    Raises:
      JobFailed: they do not add up, or too many were rejected.
    """
    accounted = sum(totals[outcome] for outcome in OUTCOMES)
    if totals["listed"] != accounted:
        raise JobFailed(
            f"the ledger does not balance: {totals['listed']} listed, {accounted} accounted for; "
            "run again, and report it if it stays"
        )
    rejected = totals["rejected"]
    if rejected > max_reject_rate * totals["listed"]:
        raise JobFailed(
            f"{rejected} of {totals['listed']} inputs were rejected, over the limit of {max_reject_rate:.0%} "
            f"(--max-reject-rate); what worked is kept, the rejected are listed in {rejected_list}"
        )


def balance_in_words(totals: Mapping[str, int]) -> str:
    """Totals -> the lines that end a run."""
    lines = [
        f"{totals['listed']} inputs = {totals['done']} done + {totals['duplicate']} duplicate + "
        f"{totals['rejected']} rejected ({totals['new_done']} done in this run)"
    ]
    spoken = {
        "listed_repeatedly": "entries of the list name an input that was there already",
        "ignored_shadow": "shadow files (._NAME, Thumbs.db and the like) are not inputs",
        "ignored_other": "other files are not images by their name",
        "ignored_link": "links and devices in archives are not inputs",
        "ignored_container": "archives in the folder are not opened; name them to caption what is in them",
        "ignored_caption": "captions in archives could not be read",
        "captions_with_inputs": "captions came with the pictures from their archives or list",
        "caption_lines_unreadable": "lines of the caption file could not be read",
        "captions_without_picture": "captions name a picture that is not there",
        "captions_repeated": "caption rows repeat another word for word; each counts as written",
        "pictures_without_caption": "pictures have no caption",
    }
    lines += [f"{totals[name]} {words}" for name, words in spoken.items() if totals.get(name)]
    return "\n".join(lines)
