"""How far a pipeline is: a live line on a terminal, a line now and then in a log.

A thread of the launching process looks at what the workers counted (`tallies.py`). Where they run on other machines and
their counts cannot be seen, it reads the ledgers that appear in the output instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.interrupts import leaving
from beam_pipeline.runtime.text import duration
from beam_pipeline.shards.ledger import DONE, OUTCOMES, REJECTED, read_ledger
from beam_pipeline.shards.shard_id import ShardId, committed_shards
from beam_pipeline.shards.tallies import HASHED, LISTED, NEW, SHARDS, Tallies

log = logging.getLogger("captionbeam")

LIVE_SECONDS = 0.5  # between two looks on a terminal
LOG_SECONDS = 30.0  # between two lines in a log, and between two looks at the output's ledgers
WINDOW_SECONDS = 60.0  # that the speed is taken over


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
      activity: "listing", "reading", "loading" the models, or "" for the work itself.
      position: how many are done of what is counted now.
      total: how many there are, or None while that is unknown.
      rejected: inputs rejected in this run.
      shards: shards finished in this run.
    """

    activity: str
    position: int
    total: int | None
    rejected: int = 0
    shards: int = 0


def state_of(counts: Counter[str], pictures: int | None = None) -> State:
    """What workers counted -> State.

    Args:
      pictures: how many there are to do, where that is known from the start; else listing tells.
    """
    if pictures is not None:
        return State("", min(counts[DONE], pictures), pictures, 0, counts[SHARDS])
    finished = sum(counts[outcome] for outcome in OUTCOMES)
    if finished or counts[SHARDS]:
        # Workers that count elsewhere leave ledgers alone, and those do not tell how many inputs there are.
        total = counts[NEW] or None
        position = min(finished, total) if total else finished
        return State("", position, total, counts[REJECTED], counts[SHARDS])
    if counts[HASHED]:  # so the listing has ended
        return State("reading" if counts[HASHED] < counts[NEW] else "loading", counts[HASHED], counts[NEW])
    return State("listing", counts[LISTED], None)


@dataclass
class Speed:
    """Positions at times -> how fast it goes: over the last WINDOW_SECONDS, and from the first one on."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)
    first: tuple[float, int] | None = None

    def take(self, now: float, position: int) -> None:
        """Takes note of a position; times are seconds of one clock and ascend."""
        if self.first is None:
            self.first = (now, position)
        self.samples.append((now, position))
        while len(self.samples) > 2 and now - self.samples[1][0] >= WINDOW_SECONDS:
            self.samples.popleft()

    def recent(self) -> float | None:
        """A second; None while there is too little to tell."""
        return _slope(self.samples[0], self.samples[-1]) if self.samples else None

    def overall(self) -> float | None:
        return _slope(self.first, self.samples[-1]) if self.first and self.samples else None


def _slope(begin: tuple[float, int], end: tuple[float, int]) -> float | None:
    seconds, number = end[0] - begin[0], end[1] - begin[1]
    return number / seconds if seconds >= 1 and number > 0 else None


def sentence(state: State, speed: float | None) -> str:
    """State and pictures a second -> one line, without the stage's name."""
    if state.activity == "listing":
        return f"{state.position:,} inputs found"
    if state.activity == "loading":
        return f"{state.position:,} new inputs read, loading the models"
    done = f"{state.position:,}" if state.total is None else f"{state.position:,} of {state.total:,}"
    parts = [f"{done} new inputs read" if state.activity else done]
    if speed:
        parts.append(f"{speed:.1f} img/s" if speed < 100 else f"{speed:,.0f} img/s")
    if speed and state.total is not None and state.position < state.total:
        parts.append(f"{duration((state.total - state.position) / speed)} to go")
    if not state.activity:
        parts.append(f"{state.rejected:,} rejected")
        if state.total is None:
            parts.append(f"{state.shards:,} shard{'s' * (state.shards != 1)} finished")
    return ", ".join(parts)


def _is_terminal() -> bool:
    """Whether a line on standard error can be drawn anew; not where the terminal has no size, as some CI gives it."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).lines > 0
    except (OSError, ValueError):
        return sys.stderr.isatty()


class Progress:
    """Shows how far a pipeline is, for as long as it is entered; whatever goes wrong here is no matter of the job's.

    Args:
      stage: its name, for the line.
      output: directory whose ledgers are read where workers' counts cannot be seen.
      committed: shards that were there before.
      pictures: how many there are to do, where that is known.
      clock: gives seconds.
    """

    def __init__(
        self,
        stage: str,
        output: str,
        committed: Iterable[ShardId],
        pictures: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.tallies = Tallies()
        self._stage, self._output, self._pictures, self._clock = stage, output, pictures, clock
        self._known = set(committed)
        self._ledgers: Counter[str] = Counter()
        self._ledgers_read = self._said = clock()
        self._state = State("listing", 0, None)
        self._speed = Speed()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._bar: tqdm | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Progress:
        with contextlib.suppress(OSError):
            directory = tempfile.mkdtemp(prefix="captionbeam-progress-")
            remove = partial(shutil.rmtree, directory, ignore_errors=True)
            self._cleanup.callback(remove)
            self._cleanup.enter_context(leaving(remove))
            self.tallies = Tallies(directory)
        self._thread.start()
        return self

    def __exit__(self, kind, *_) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)
        if kind is None and self._state.position and not self._state.activity:
            self._tell(f"{self._stage}: {sentence(self._state, self._speed.overall())}")
        self._cleanup.close()

    def _watch(self) -> None:
        try:
            if _is_terminal():
                with (
                    logging_redirect_tqdm(loggers=[log]),
                    tqdm(bar_format="{desc}", leave=False, dynamic_ncols=True) as self._bar,
                ):
                    self._look_until_stopped(LIVE_SECONDS)
            else:
                self._look_until_stopped(1.0)
        except Exception as error:
            log.debug("no progress can be shown any more: %s", error)

    def _look_until_stopped(self, pause: float) -> None:
        while True:
            last = self._stopped.wait(pause)
            self.look(last)
            if last:
                return

    def look(self, last: bool = False) -> None:
        """Looks at the counts, and says something if it is time."""
        now = self._clock()
        counts = self.tallies.read()
        if not counts and (last or now - self._ledgers_read >= LOG_SECONDS):
            self._ledgers_read = now
            self._read_new_ledgers()
        state = state_of(counts or self._ledgers, self._pictures)
        if state.activity != self._state.activity:
            self._speed = Speed()
        self._state = state
        if state.position:
            self._speed.take(now, state.position)
        if last:
            return
        if self._bar is not None:
            self._draw(self._bar, state)
        elif state.position and now - self._said >= LOG_SECONDS:
            self._said = now
            self._tell(f"{self._stage}: {sentence(state, self._speed.recent())}")

    def _draw(self, bar: tqdm, state: State) -> None:
        known = state.total is not None
        bar.bar_format = "{desc} |{bar:20}| {percentage:.0f} %" if known else "{desc}"
        bar.total, bar.n = state.total, state.position
        bar.set_description_str(f"{self._stage}: {sentence(state, self._speed.recent())}", refresh=True)

    def _tell(self, line: str) -> None:
        log.info("%s", line)

    def _read_new_ledgers(self) -> None:
        """Counts what the ledgers of newly committed shards say; each is read once."""
        for shard in committed_shards(storage.list_directory(self._output)):
            if shard not in self._known:
                self._known.add(shard)
                self._ledgers[SHARDS] += 1
                lines = read_ledger(storage.join(self._output, shard.ledger()))
                self._ledgers.update(line.outcome for line in lines)
