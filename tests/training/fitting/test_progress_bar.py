import io
import sys

import pytest

from training.fitting import progress_bar as module
from training.fitting.progress_bar import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def steps(monkeypatch):
    """Does 100 steps and raises a loss that falls; returns what was said."""

    def steps(stream) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_bar(100, "epoch 1/7", "step", 40) as bar:
            for _ in range(60):
                bar.set_postfix({"loss": "3.25"}, refresh=False)
                bar.update()
        return stream.getvalue()

    return steps


def test_a_log_gets_lines(steps, monkeypatch):
    monkeypatch.setattr(module, "_LOG_SECONDS", 0)
    lines = steps(io.StringIO()).splitlines()
    assert len(lines) > 1
    assert all("\r" not in line and line.startswith("epoch 1/7: ") for line in lines)
    assert lines[-1].startswith("epoch 1/7: 100 of 100 steps, ") and lines[-1].endswith("loss=3.25")


def test_what_is_done_at_once_says_little(steps):
    assert len(steps(io.StringIO()).splitlines()) <= 1


def test_a_terminal_gets_a_bar(steps, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    said = steps(Terminal())
    assert "\r" in said and "100/100" in said


def test_a_terminal_that_cannot_go_back_gets_lines(steps, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\r" not in steps(Terminal())
