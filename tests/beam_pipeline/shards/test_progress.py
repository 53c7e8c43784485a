import io
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.shards import progress as module
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.live_counts import LiveCounts
from beam_pipeline.shards.progress import ProgressDisplay, ProgressState, SpeedMeter, progress_line, progress_state
from beam_pipeline.shards.shard_id import ShardId


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("counts", "pictures", "state"),
    [
        ({}, None, ProgressState("listing", 0, None)),
        ({"listed": 5}, None, ProgressState("listing", 5, None)),
        ({"listed": 9, "new": 7}, None, ProgressState("listing", 9, None)),
        ({"listed": 9, "new": 7, "hashed": 3}, None, ProgressState("reading", 3, 7)),
        ({"listed": 9, "new": 7, "hashed": 7}, None, ProgressState("loading", 7, 7)),
        (
            {"listed": 9, "new": 7, "hashed": 7, "done": 2, "duplicate": 1, "rejected": 1, "shards": 1},
            None,
            ProgressState("", 4, 7, 1, 1),
        ),
        # A worker that died after counting had its pictures made again.
        ({"new": 7, "hashed": 7, "done": 9}, None, ProgressState("", 7, 7)),
        # Seen through ledgers alone.
        ({"done": 500, "rejected": 12, "shards": 1}, None, ProgressState("", 512, None, 12, 1)),
        # From features the number is known from the start.
        ({"done": 64}, 500, ProgressState("", 64, 500)),
        ({}, 500, ProgressState("", 0, 500)),
    ],
)
def test_what_was_counted_tells_where_a_run_stands(counts, pictures, state):
    assert progress_state(Counter(counts), pictures) == state


@pytest.mark.parametrize(
    ("state", "speed", "line"),
    [
        (ProgressState("listing", 12345, None), None, "12,345 inputs found"),
        (ProgressState("reading", 1200, 7091), 600.0, "1,200 of 7,091 new inputs read, 600 img/s, 10 s to go"),
        (ProgressState("loading", 7091, 7091), 600.0, "7,091 new inputs read, loading the models"),
        (ProgressState("", 1536, 7091, 12, 3), 25.25, "1,536 of 7,091, 25.2 img/s, 3 min 40 s to go, 12 rejected"),
        (ProgressState("", 7, 7091), None, "7 of 7,091, 0 rejected"),
        (ProgressState("", 7091, 7091, 1, 14), 25.0, "7,091 of 7,091, 25.0 img/s, 1 rejected"),
        (ProgressState("", 512, None, 2, 1), 9.0, "512, 9.0 img/s, 2 rejected, 1 shard finished"),
    ],
)
def test_a_state_in_words(state, speed, line):
    assert progress_line(state, speed) == line


def test_speed_forgets_what_is_long_ago():
    speed = SpeedMeter()
    assert speed.recent() is None
    speed.add(0, 10)
    assert speed.recent() is None, "one position tells no speed"
    for second in range(1, 101):
        speed.add(second, 10 + second)  # 1 a second
    for second in range(101, 301):
        speed.add(second, 110 + 5 * (second - 100))  # 5 a second
    assert speed.recent() == pytest.approx(5)
    assert speed.overall() == pytest.approx((110 + 1000 - 10) / 300)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), min_size=1, max_size=60))
def test_speed_lies_between_the_slowest_and_the_fastest(steps):
    speed, now, position = SpeedMeter(), 0.0, 0
    speed.add(now, position)
    for seconds, number in steps:
        now, position = now + seconds, position + number
        speed.add(now, position)
    recent = speed.recent()
    slopes = [number / seconds for seconds, number in steps]
    assert recent is None or min(slopes) * 0.999 <= recent <= max(slopes) * 1.001
    assert len(speed.samples) <= 61


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def watched(tmp_path, caplog, monkeypatch):
    """Makes a ProgressDisplay that is updated by the test, by a clock that the test moves."""
    caplog.set_level("INFO", module.log.name)
    clock = Clock()

    def make(**settings):
        progress = ProgressDisplay("extract", str(tmp_path), [ShardId(1, 0, 1)], clock=clock, **settings)
        monkeypatch.setattr(progress, "_watch", lambda: progress._stopped.wait())
        progress._thread._target = progress._watch
        return progress

    return make, clock


def test_a_log_gets_a_line_every_half_minute(watched, caplog):
    make, clock = watched
    with make() as progress:
        progress.live_counts.add("new", 1000)
        progress.live_counts.add("hashed", 1000)
        for second in range(95):
            clock.now = second
            progress.live_counts.add("done", 2)
            progress.update()
    assert lines(caplog) == [
        "extract: 62 of 1,000, 2.0 img/s, 7 min 49 s to go, 0 rejected",
        "extract: 122 of 1,000, 2.0 img/s, 7 min 19 s to go, 0 rejected",
        "extract: 182 of 1,000, 2.0 img/s, 6 min 49 s to go, 0 rejected",
        "extract: 190 of 1,000, 2.0 img/s, 6 min 45 s to go, 0 rejected",
    ]
    assert not os.path.exists(progress.live_counts.directory)


def test_where_counts_cannot_be_seen_the_ledgers_are_read(watched, caplog, tmp_path):
    make, clock = watched
    old, new = ShardId(1, 0, 1), ShardId(2, 0, 3)
    line = LedgerLine("a", 1, 1, "ab", "done")
    with make() as progress:
        (tmp_path / old.ledger()).write_bytes(to_jsonl([line] * 100))
        (tmp_path / new.ledger()).write_bytes(to_jsonl([line] * 5 + [LedgerLine("b", 1, 1, "", "rejected")]))
        clock.now = 31.0
        progress.update()
        progress.update()
    assert lines(caplog) == [
        "extract: 6, 1 rejected, 1 shard finished",
        "extract: 6, 1 rejected, 1 shard finished",
    ]


def test_nothing_new_says_nothing(watched, caplog):
    make, _ = watched
    with make() as progress:
        progress.live_counts.add("listed", 1000)
        progress.update()
    assert lines(caplog) == []


def test_a_failure_to_look_is_no_failure_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "progress_state", lambda *_: 1 / 0)
    with ProgressDisplay("extract", str(tmp_path), []):
        pass


def test_without_room_for_counts_the_job_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with ProgressDisplay("extract", str(tmp_path), []) as progress:
        progress.live_counts.add("done")
    assert progress.live_counts == LiveCounts()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_live_line(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "LIVE_SECONDS", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressDisplay("caption", str(tmp_path), [], pictures=8) as progress:
        progress.live_counts.add("done", 2)
        while "2 of 8" not in terminal.getvalue():
            pass
    assert "caption: 2 of 8, 0 rejected |" in terminal.getvalue()
    assert "| 25 %" in terminal.getvalue()


EXTRACT = """
import json, sys
from beam_pipeline import cli
cli.set_up_logging(verbose=False)
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipeline.extract_features import extract
from beam_pipeline.options.extract import ExtractOptions

class Blank:
    def encode(self, pixels):
        return np.zeros([len(pixels), 2048], np.float16)

extract(ExtractOptions(**json.loads(sys.argv[1])), PipelineOptions(sys.argv[2:]), lambda spec: Blank())
"""


@pytest.mark.parametrize(
    "beam_options",
    [
        pytest.param([], id="in_memory"),
        pytest.param(["--direct_running_mode=multi_processing", "--direct_num_workers=2"], id="multi_processing"),
    ],
)
def test_a_whole_run_says_nothing_but_what_its_ledgers_say(good, extract_settings, tmp_path, beam_options):
    (good / "copy.jpg").write_bytes((good / "00.jpg").read_bytes())
    (good / "broken.jpg").write_bytes(b"no picture")
    options = {**extract_settings, "output": str(tmp_path / "features")}
    command = [sys.executable, "-c", EXTRACT, json.dumps(options), *beam_options]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    run = partial(subprocess.run, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=300)
    done = run(command, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert {line.split()[0] for line in lines} == {"encoder", "extract:"}, done.stderr
    last = lines[-1]
    assert last.startswith("extract: 22 of 22, ") and last.endswith(", 1 rejected"), done.stderr
