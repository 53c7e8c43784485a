"""One run of `extract` or `caption` over its output directory, and what its workers report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsList, PCollection

from beam_pipeline.inputs.lists import format_list_entry
from beam_pipeline.options.collection import CollectionOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import NOTES_KEPT, Outputs
from beam_pipeline.runtime.runner import run_pipeline
from beam_pipeline.shards.balance import (
    HOW_TO_RETRY,
    balance_line,
    check_balance,
    check_prune,
    gone_line,
    notices,
    reasons_line,
)
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, rejected_inputs
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.output_directory import (
    Standing,
    begin_prune,
    commit_shard,
    exclusive,
    read_standing,
    without_lost,
)
from beam_pipeline.shards.progress import ProgressDisplay
from beam_pipeline.shards.results import Results
from beam_pipeline.shards.shard_id import ShardId, ledger_paths, replaced_files, unfinished_prune_files
from training.own_names import NOTE_SUFFIX, REJECTED_LIST


class Run(contextlib.AbstractContextManager["Run"]):
    """One run of a stage over its output directory, which it holds for itself while it is entered.

        with Run("extract", output, beam_options) as run:
            with run.pipeline() as pipeline:
                ...
            run.print_balance(totals)
            run.check_balance(totals, max_reject_rate)

    Args:
      stage: name of the command.
      output: absolute path of the directory.
      beam_options: options of the pipeline.

    Attributes:
      standing: what the directory holds, once entered.
      live_counts: counters for the progress display, for the workers of the pipeline.

    Raises:
      JobFailed: another run holds the directory, or it cannot be written.
    """

    standing: Standing

    def __init__(self, stage: str, output: str, beam_options: PipelineOptions):
        self.stage = stage
        self.output = output
        self.beam_options = beam_options
        self.live_counts = LiveCounts()
        self._lock = exclusive(output)

    def __enter__(self) -> Run:
        self._lock.__enter__()
        try:
            self._remove(unfinished_prune_files)
            self.standing = read_standing(self.output)
        except BaseException as error:
            self._lock.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._lock.__exit__(*error)

    def discard(self, shards: Iterable[ShardId]) -> None:
        """Removes the ledgers of committed shards, so that the pipeline makes these shards again."""
        for shard in shards:
            storage.remove(storage.join(self.output, shard.ledger()))
            storage.remove(storage.join(self.output, shard.features() + NOTE_SUFFIX))
        self.standing = read_standing(self.output)

    def forget_lost(
        self,
        contents: Callable[[ShardId, str], Iterable[str]],
        put_ledger_digests: Callable[[str, Mapping[ShardId, str]], None],
    ) -> None:
        """Removes the ledger lines that `without_lost` finds, so that the pipeline looks at those files again.

        Args:
          contents: (shard, directory) -> hex sha256 of the pictures that a committed shard really holds.
          put_ledger_digests: renews {shard: hex sha256 of its ledger} in the manifest or the summary of a directory.
        """
        if ledgers := without_lost(self.output, self.standing, contents):
            put_ledger_digests(self.output, dict.fromkeys(ledgers, ""))  # whenever a kill comes, none is contradicted
            digests = {shard: commit_shard(self.output, shard, lines) for shard, lines in ledgers.items()}
            put_ledger_digests(self.output, digests)

    def needs_prune(self, totals: Mapping[str, int]) -> bool:
        """Whether the directory is not what a run over a new directory would make: files are gone, or it had two runs.

        A later run leaves the files of a known picture out of the records, and may have found one that sorts first.
        """
        several = len({shard.run for shard in read_standing(self.output).committed}) > 1
        return several or any(totals.get(name) for name in ("gone", "gone_rejected"))

    def check_prune(self, totals: Mapping[str, int], pictures: int, options: CollectionOptions) -> None:
        """Checks that a prune may begin.

        Args:
          totals: of the run before it.
          pictures: number that the directory holds.

        Raises:
          JobFailed: the totals do not balance, too many inputs were rejected, or too many pictures would go.
        """
        self.check_balance(totals, options.max_reject_rate)
        check_prune(totals.get("gone_pictures", 0), pictures, options.max_prune_rate, self.output)

    def print_gone(self, totals: Mapping[str, int]) -> None:
        """Prints what the directory counts that is no longer listed, if there is any."""
        if line := gone_line(totals, "--prune lets go of them"):
            print(f"{self.output}: {line}")

    @contextlib.contextmanager
    def pruning(self) -> Iterator[int]:
        """Gives the number of a run to write what is kept to; what makes it count is `commit_prune`."""
        self.standing = read_standing(self.output)
        number = self.standing.next_run
        begin_prune(self.output, number)
        yield number
        self.standing = read_standing(self.output)

    def remove_replaced(self) -> None:
        """Removes the files that a prune has replaced; only once the manifest or the summary names their successors."""
        self._remove(replaced_files)

    def remove_shards(self, shards: Iterable[ShardId]) -> None:
        """Removes all files of captioned shards that no longer count, the ledger last."""
        for shard in shards:
            for name in (shard.captions(), shard.words(), shard.ledger()):
                storage.remove(storage.join(self.output, name))

    def _remove(self, which: Callable[[Iterable[str]], list[str]]) -> None:
        for name in which(storage.list_directory(self.output)):
            storage.remove(storage.join(self.output, name))

    @contextlib.contextmanager
    def pipeline(self, pictures: int | None = None) -> Iterator[beam.Pipeline]:
        """Gives a pipeline to build, and runs it with a progress display when the block ends.

        Args:
          pictures: number of pictures to do, where it is known.

        Raises:
          JobFailed: the pipeline failed; finished shards are kept.
        """
        with ProgressDisplay(self.stage, self.output, self.standing.committed, pictures) as progress:
            self.live_counts = progress.live_counts
            with run_pipeline(self.beam_options, self.output) as pipeline:
                yield pipeline

    def print_balance(self, totals: Mapping[str, int], notes: Mapping[str, Sequence[str]] | None = None) -> None:
        """Writes `rejected.txt` and prints what became of all inputs, with the examples that `notes` holds by name."""
        rejected = write_rejected(self.output)
        print(balance_line(totals), *notices(totals, notes), sep="\n")
        if totals[REJECTED]:
            print(f"rejected: {reasons_line(rejected)}")
            print(f"{storage.join(self.output, REJECTED_LIST)} lists the rejected inputs; {HOW_TO_RETRY}")

    def check_balance(self, totals: Mapping[str, int], max_reject_rate: float) -> None:
        """Checks the totals of a run.

        Raises:
          JobFailed: they do not balance, or a larger share of the inputs than `max_reject_rate` was rejected.
        """
        check_balance(totals, max_reject_rate, storage.join(self.output, REJECTED_LIST))


def write_rejected(directory: str) -> list[LedgerLine]:
    """Writes `rejected.txt`, a list that `--images` takes, of the inputs that stay rejected; returns their lines."""
    rejected = rejected_inputs(ledger_paths(directory))
    entries = "".join(format_list_entry(uri) + "\n" for uri in sorted(rejected))
    storage.write_atomic(storage.join(directory, REJECTED_LIST), entries.encode())
    return list(rejected.values())


class GatherResults(beam.PTransform):
    """PCollection of any elements -> one Results element.

    Args:
      counted: Outputs whose counts and notes are gathered.
    """

    def __init__(self, *counted: Outputs):
        super().__init__()
        self.counts = [counts for outputs in counted for counts in outputs.counts]
        self.notes = [notes for outputs in counted for notes in outputs.notes]

    def expand(self, elements: PCollection) -> PCollection:
        pipeline = elements.pipeline
        counts = self.counts | "AllCounts" >> beam.Flatten(pipeline=pipeline) | "SumCounts" >> beam.CombinePerKey(sum)
        notes = (
            self.notes
            | "AllNotes" >> beam.Flatten(pipeline=pipeline)
            | "FirstNotes" >> beam.combiners.Top.SmallestPerKey(NOTES_KEPT)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "Gather" >> beam.Map(_gather, AsList(elements), AsDict(counts), AsDict(notes))
        )


def _gather(_: None, elements: list[Any], counts: dict[str, int], notes: dict[str, list[str]]) -> Results:
    return Results(elements, counts, {kind: sorted(texts) for kind, texts in sorted(notes.items())})
