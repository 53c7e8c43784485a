import io
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.text import duration
from beam_pipeline.shards import progress as module
from beam_pipeline.shards.ledger import LedgerLine, to_jsonl
from beam_pipeline.shards.progress import Progress, Speed, State, sentence, state_of
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.shards.tallies import NOWHERE, Tallies


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("counts", "pictures", "state"),
    [
        ({}, None, State("listing", 0, None)),
        ({"listed": 5}, None, State("listing", 5, None)),
        ({"listed": 9, "new": 7}, None, State("listing", 9, None)),
        ({"listed": 9, "new": 7, "hashed": 3}, None, State("reading", 3, 7)),
        ({"listed": 9, "new": 7, "hashed": 7}, None, State("loading", 7, 7)),
        (
            {"listed": 9, "new": 7, "hashed": 7, "done": 2, "duplicate": 1, "rejected": 1, "shards": 1},
            None,
            State("", 4, 7, 1, 1),
        ),
        # A worker that died after counting had its pictures made again.
        ({"new": 7, "hashed": 7, "done": 9}, None, State("", 7, 7)),
        # Seen through ledgers alone.
        ({"done": 500, "rejected": 12, "shards": 1}, None, State("", 512, None, 12, 1)),
        # From features the number is known from the start.
        ({"done": 64}, 500, State("", 64, 500)),
        ({}, 500, State("", 0, 500)),
    ],
)
def test_what_was_counted_tells_where_a_run_stands(counts, pictures, state):
    assert state_of(Counter(counts), pictures) == state


@pytest.mark.parametrize(
    ("state", "speed", "said"),
    [
        (State("listing", 12345, None), None, "12,345 inputs found"),
        (State("reading", 1200, 7091), 600.0, "1,200 of 7,091 new inputs read, 600 img/s, 10 s to go"),
        (State("loading", 7091, 7091), 600.0, "7,091 new inputs read, loading the models"),
        (State("", 1536, 7091, 12, 3), 25.25, "1,536 of 7,091, 25.2 img/s, 3 min 40 s to go, 12 rejected"),
        (State("", 7, 7091), None, "7 of 7,091, 0 rejected"),
        (State("", 7091, 7091, 1, 14), 25.0, "7,091 of 7,091, 25.0 img/s, 1 rejected"),
        (State("", 512, None, 2, 1), 9.0, "512, 9.0 img/s, 2 rejected, 1 shard finished"),
    ],
)
def test_a_state_in_words(state, speed, said):
    assert sentence(state, speed) == said


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (7260, "2 h 1 min"),
        (172800, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_speed_forgets_what_is_long_ago():
    speed = Speed()
    assert speed.recent() is None
    speed.take(0, 10)
    assert speed.recent() is None, "one position tells no speed"
    for second in range(1, 101):
        speed.take(second, 10 + second)  # 1 a second
    for second in range(101, 301):
        speed.take(second, 110 + 5 * (second - 100))  # 5 a second
    assert speed.recent() == pytest.approx(5)
    assert speed.overall() == pytest.approx((110 + 1000 - 10) / 300)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), min_size=1, max_size=60))
def test_speed_lies_between_the_slowest_and_the_fastest(steps):
    speed, now, position = Speed(), 0.0, 0
    speed.take(now, position)
    for seconds, number in steps:
        now, position = now + seconds, position + number
        speed.take(now, position)
    recent = speed.recent()
    slopes = [number / seconds for seconds, number in steps]
    assert recent is None or min(slopes) * 0.999 <= recent <= max(slopes) * 1.001
    assert len(speed.samples) <= 61


def _count(tallies: Tallies) -> None:
    for _ in range(100):
        tallies.add("done")
    tallies.add_lines([LedgerLine("a", 1, 1, "", "rejected"), LedgerLine("b", 1, 1, "", "duplicate")])


def test_processes_count_together(tmp_path):
    tallies = pickle.loads(pickle.dumps(Tallies(str(tmp_path))))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_count, [tallies] * 3))
    _count(tallies)
    assert tallies.read() == {"listed": 0, "new": 0, "hashed": 0, "shards": 0} | {
        "done": 400,
        "rejected": 4,
        "duplicate": 4,
    }


def test_counting_never_fails(tmp_path):
    """On another machine there is no such directory."""
    for tallies in (NOWHERE, Tallies(str(tmp_path / "none"))):
        _count(tallies)
        assert tallies.read() == {}


def lines(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def watched(tmp_path, caplog, monkeypatch):
    """A Progress whose thread looks at nothing: the test does, by its own clock."""
    monkeypatch.setattr(module.log, "propagate", True)
    caplog.set_level("INFO", module.log.name)
    clock = Clock()

    def make(**settings):
        progress = Progress("extract", str(tmp_path), [ShardId(1, 0, 1)], clock=clock, **settings)
        monkeypatch.setattr(progress, "_watch", lambda: progress._stopped.wait())
        progress._thread._target = progress._watch
        return progress

    return make, clock


def test_a_log_gets_a_line_every_half_minute(watched, caplog):
    make, clock = watched
    with make() as progress:
        progress.tallies.add("new", 1000)
        progress.tallies.add("hashed", 1000)
        for second in range(95):
            clock.now = second
            progress.tallies.add("done", 2)
            progress.look()
    assert lines(caplog) == [
        "extract: 62 of 1,000, 2.0 img/s, 7 min 49 s to go, 0 rejected",
        "extract: 122 of 1,000, 2.0 img/s, 7 min 19 s to go, 0 rejected",
        "extract: 182 of 1,000, 2.0 img/s, 6 min 49 s to go, 0 rejected",
        "extract: 190 of 1,000, 2.0 img/s, 6 min 45 s to go, 0 rejected",
    ]
    assert not os.path.exists(progress.tallies.directory)


def test_where_counts_cannot_be_seen_the_ledgers_are_read(watched, caplog, tmp_path):
    make, clock = watched
    old, new = ShardId(1, 0, 1), ShardId(2, 0, 3)
    line = LedgerLine("a", 1, 1, "x", "done")
    with make() as progress:
        (tmp_path / old.ledger()).write_bytes(to_jsonl([line] * 100))
        (tmp_path / new.ledger()).write_bytes(to_jsonl([line] * 5 + [LedgerLine("b", 1, 1, "", "rejected")]))
        clock.now = 31.0
        progress.look()
        progress.look()
    assert lines(caplog) == [
        "extract: 6, 1 rejected, 1 shard finished",
        "extract: 6, 1 rejected, 1 shard finished",
    ]


def test_nothing_new_says_nothing(watched, caplog):
    make, _ = watched
    with make() as progress:
        progress.tallies.add("listed", 1000)
        progress.look()
    assert lines(caplog) == []


def test_a_failure_to_look_is_no_failure_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "state_of", lambda *_: 1 / 0)
    with Progress("extract", str(tmp_path), []):
        pass


def test_without_room_for_counts_the_job_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError("no space left")))
    with Progress("extract", str(tmp_path), []) as progress:
        progress.tallies.add("done")
    assert progress.tallies == NOWHERE


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_live_line(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "LIVE_SECONDS", 0.01)
    with Progress("caption", str(tmp_path), [], pictures=8) as progress:
        progress.tallies.add("done", 2)
        while "2 of 8" not in terminal.getvalue():
            pass
    assert "caption: 2 of 8, 0 rejected |" in terminal.getvalue()
    assert "| 25 %" in terminal.getvalue()


EXTRACT = """
import json, logging, sys
from beam_pipeline import cli
from beam_pipeline.shards import progress
cli.set_up_logging(verbose=False)
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from beam_pipeline.extract_features import ExtractOptions, extract

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
def test_a_whole_run_counts_what_its_ledgers_say(good, weights, tmp_path, beam_options):
    (good / "copy.jpg").write_bytes((good / "00.jpg").read_bytes())
    (good / "broken.jpg").write_bytes(b"no picture")
    options = {
        "images": str(good),
        "weights": str(weights),
        "feature_kind": "pooled",
        "precision": "float32",
        "shard_size": 5,
        "output": str(tmp_path / "features"),
    }
    command = [sys.executable, "-c", EXTRACT, json.dumps(options), *beam_options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=300)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("encoder ")]
    assert said, "something is said at the end"
    assert said[-1].startswith("extract: 22 of 22, ") and said[-1].endswith(", 1 rejected"), done.stderr
