"""Progress of a pipeline: one live line on a terminal, a line every half minute in a log.

A thread of the launching process reads the live counts of the workers (`live_counts.py`). Where workers run on other
machines and their counts cannot be seen, it reads the ledgers that appear in the output directory instead.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.interrupts import on_stop
from beam_pipeline.runtime.text import duration
from beam_pipeline.shards.ledger import DONE, OUTCOMES, REJECTED, read_ledger
from beam_pipeline.shards.live_counts import HASHED, LISTED, NEW, SHARDS, LiveCounts
from beam_pipeline.shards.shard_id import ShardId, committed_shards
from training.errors import JobFailed
from training.fitting.progress_bar import can_redraw
from training.scratch import scratch_directory
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

LIVE_SECONDS = 0.5  # between two updates of the line on a terminal
LOG_SECONDS = 30.0  # between two lines in a log, and between two looks at the ledgers
WINDOW_SECONDS = 60.0  # that the recent speed is taken over


@dataclass(frozen=True)
class ProgressState:
    """How far a run is.

    Attributes:
      activity: "listing", "reading", "loading" the models, or "" for the work itself.
      position: inputs that the activity has finished.
      total: inputs that it has to do, or None while that is unknown.
      rejected: inputs rejected in this run.
      shards: shards finished in this run.
    """

    activity: str
    position: int
    total: int | None
    rejected: int = 0
    shards: int = 0


def progress_state(counts: Counter[str], pictures: int | None = None) -> ProgressState:
    """Live counts by name -> ProgressState.

    Args:
      pictures: number of pictures to do, where it is known from the start; else the listing tells.
    """
    if pictures is not None:
        return ProgressState("", min(counts[DONE], pictures), pictures, 0, counts[SHARDS])
    finished = sum(counts[outcome] for outcome in OUTCOMES)
    if finished or counts[SHARDS]:
        # Where only the ledgers can be read, the number of inputs is unknown.
        total = counts[NEW] or None
        position = min(finished, total) if total else finished
        return ProgressState("", position, total, counts[REJECTED], counts[SHARDS])
    if counts[HASHED]:  # so the listing has ended
        activity = "reading" if counts[HASHED] < counts[NEW] else "loading"
        return ProgressState(activity, counts[HASHED], counts[NEW])
    return ProgressState("listing", counts[LISTED], None)


@dataclass
class SpeedMeter:
    """Positions at times -> pictures a second: over the last WINDOW_SECONDS, and since the first position."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)
    first: tuple[float, int] | None = None

    def add(self, seconds: float, position: int) -> None:
        """Adds a position at a time; the times come from one clock and ascend."""
        if self.first is None:
            self.first = (seconds, position)
        self.samples.append((seconds, position))
        while len(self.samples) > 2 and seconds - self.samples[1][0] >= WINDOW_SECONDS:
            self.samples.popleft()

    def recent(self) -> float | None:
        """Pictures a second over the last WINDOW_SECONDS; None before a second has passed, or without progress."""
        return _slope(self.samples[0], self.samples[-1]) if self.samples else None

    def overall(self) -> float | None:
        """Pictures a second since the first position; None before a second has passed, or without progress."""
        return _slope(self.first, self.samples[-1]) if self.first and self.samples else None


def _slope(begin: tuple[float, int], end: tuple[float, int]) -> float | None:
    seconds, number = end[0] - begin[0], end[1] - begin[1]
    return number / seconds if seconds >= 1 and number > 0 else None


def progress_line(state: ProgressState, speed: float | None) -> str:
    """ProgressState and pictures a second -> text of the line, without the name of the stage."""
    if state.activity == "listing":
        return f"{counted(state.position, 'input')} found"
    if state.activity == "loading":
        return f"{counted(state.position, 'new input')} read, loading the models"
    done = "" if state.total is None else f"{state.position:,} of "
    of = state.position if state.total is None else state.total
    parts = [f"{done}{counted(of, 'new input')} read" if state.activity else f"{done}{of:,}"]
    if speed:
        parts.append(f"{speed:.1f} img/s" if speed < 100 else f"{speed:,.0f} img/s")
    if speed and state.total is not None and state.position < state.total:
        parts.append(f"{duration((state.total - state.position) / speed)} to go")
    if not state.activity:
        parts.append(f"{state.rejected:,} rejected")
        if state.total is None:
            parts.append(f"{counted(state.shards, 'shard')} finished")
    return ", ".join(parts)


class ProgressDisplay:
    """Shows the progress of a pipeline for as long as it is entered; an error in here never fails the job.

    Args:
      stage: name that begins the line.
      output: directory whose ledgers are read where the live counts cannot be.
      committed: shards that were finished before this run.
      pictures: number of pictures to do, where it is known.
      clock: gives seconds.

    Attributes:
      live_counts: for the workers to add to.
    """

    def __init__(
        self,
        stage: str,
        output: str,
        committed: Iterable[ShardId],
        pictures: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.live_counts = LiveCounts()
        self._stage, self._output, self._pictures, self._clock = stage, output, pictures, clock
        self._shards_read = set(committed)
        self._ledger_counts: Counter[str] = Counter()
        self._ledgers_read_at = self._logged_at = clock()
        self._state = ProgressState("listing", 0, None)
        self._speed = SpeedMeter()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._bar: tqdm | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> ProgressDisplay:
        with contextlib.suppress(JobFailed):
            directory = self._cleanup.enter_context(scratch_directory())
            self._cleanup.enter_context(on_stop(partial(shutil.rmtree, directory, ignore_errors=True)))
            self.live_counts = LiveCounts(directory)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)
        if kind is None and self._state.position and not self._state.activity:
            self._log(self._speed.overall())
        self._cleanup.close()

    def _watch(self) -> None:
        tqdm.set_lock(threading.RLock())  # its own would be one between processes, which on macOS starts a process
        try:
            if can_redraw():
                with (
                    logging_redirect_tqdm(loggers=[log]),
                    tqdm(bar_format="{desc}", leave=False, dynamic_ncols=True) as self._bar,
                ):
                    self._update_until_stopped(LIVE_SECONDS)
            else:
                self._update_until_stopped(1.0)
        except Exception as error:
            log.debug("progress cannot be shown any more: %s", error)

    def _update_until_stopped(self, pause: float) -> None:
        while True:
            last = self._stopped.wait(pause)
            self.update(last)
            if last:
                return

    def update(self, last: bool = False) -> None:
        """Reads the counts, redraws the live line, and logs a line where LOG_SECONDS have passed.

        Args:
          last: only read the counts; the line at the end follows.
        """
        now = self._clock()
        counts = self.live_counts.read()
        if not counts and (last or now - self._ledgers_read_at >= LOG_SECONDS):
            self._ledgers_read_at = now
            self._read_new_ledgers()
        state = progress_state(counts or self._ledger_counts, self._pictures)
        if state.activity != self._state.activity:
            self._speed = SpeedMeter()
        self._state = state
        if state.position:
            self._speed.add(now, state.position)
        if last:
            return
        if self._bar is not None:
            self._draw(self._bar, state)
        elif state.position and now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            self._log(self._speed.recent())

    def _draw(self, bar: tqdm, state: ProgressState) -> None:
        known = state.total is not None
        bar.bar_format = "{desc} |{bar:20}| {percentage:.0f} %" if known else "{desc}"
        bar.total, bar.n = state.total, state.position
        bar.set_description_str(f"{self._stage}: {progress_line(state, self._speed.recent())}", refresh=True)

    def _log(self, speed: float | None) -> None:
        log.info("%s: %s", self._stage, progress_line(self._state, speed))

    def _read_new_ledgers(self) -> None:
        """Adds the outcomes in the ledgers of newly committed shards; each ledger is read once."""
        for shard in committed_shards(storage.list_directory(self._output)):
            if shard not in self._shards_read:
                self._shards_read.add(shard)
                self._ledger_counts[SHARDS] += 1
                lines = read_ledger(storage.join(self._output, shard.ledger()))
                self._ledger_counts.update(line.outcome for line in lines)
