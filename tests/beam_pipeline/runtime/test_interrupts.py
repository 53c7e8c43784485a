"""The command told to stop by a real signal, with workers in its process and in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# The command itself, but for an encoder that takes its time.
COMMAND = """
import dataclasses, sys, time
from beam_pipeline import cli
import numpy as np

class Slow:
    def encode(self, pixels):
        time.sleep(3)
        return np.zeros([len(pixels), 2048], np.float16)

def extract(options, beam_options):
    from beam_pipeline import extract_features
    extract_features.extract(options, beam_options, lambda spec: Slow())

cli.STAGES["extract"] = dataclasses.replace(cli.STAGES["extract"], module="__main__")
cli.command()
"""
IN_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
SAID = "captionbeam extract: stopped; the same command continues from what is finished"


def processes_of(marker: str) -> list[int]:
    """Ids of the processes whose environment holds a marker, children of children too."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def wait_for(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for left-over processes in /proc")


def take_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so does all that it starts, these tests among it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def in_the_midst(good, weights, tmp_path):
    """Starts the command and waits until it has finished a shard; what is left of it at the end is killed."""
    output, temporary = tmp_path / "features", tmp_path / "tmp"
    temporary.mkdir()

    def start(*beam_options: str) -> subprocess.Popen:
        command = [sys.executable, "-c", COMMAND, "extract", "--images", str(good), "--output", str(output)]
        command += ["--weights", str(weights), "--feature-kind", "pooled", "--shard-size", "1", *beam_options]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # the command itself keeps TensorFlow quiet
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=take_ctrl_c, **pipes
        )
        assert wait_for(lambda: list(output.glob("ledger-*")) or process.poll() is not None, 240)
        assert process.poll() is None, process.communicate()
        return process

    yield start
    for left in processes_of(f"TMPDIR={tmp_path}"):
        os.kill(left, signal.SIGKILL)


@LINUX
@pytest.mark.parametrize(
    ("beam_options", "number", "to_group", "status"),
    [
        pytest.param((), signal.SIGINT, False, 130, id="SIGINT"),
        pytest.param(IN_PROCESSES, signal.SIGINT, True, 130, id="Ctrl-C with worker processes"),
        pytest.param(IN_PROCESSES, signal.SIGTERM, False, 143, id="SIGTERM with worker processes"),
    ],
)
def test_told_to_stop_it_says_how_to_go_on_and_leaves_nothing(
    in_the_midst, tmp_path, beam_options, number, to_group, status
):
    process = in_the_midst(*beam_options)
    (os.killpg if to_group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=240)
    assert process.returncode == status
    assert [line for line in err.splitlines() if not line.startswith(("encoder ", "extract: "))] == [SAID]
    assert out == ""
    assert wait_for(lambda: not processes_of(f"TMPDIR={tmp_path}"), 60)
    assert list((tmp_path / "tmp").iterdir()) == []


@LINUX
def test_worker_processes_end_with_a_job_that_was_killed(in_the_midst, tmp_path):
    marker = f"TMPDIR={tmp_path}"
    process = in_the_midst(*IN_PROCESSES)
    assert len(processes_of(marker)) >= 3
    process.kill()
    process.wait()
    assert wait_for(lambda: not processes_of(marker), 60)


def run_script(script: str) -> tuple[int, str, str]:
    """Runs a Python script -> its exit status, standard output and standard error."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, preexec_fn=take_ctrl_c, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_second_signal_ends_it_at_once():
    script = """
import os, signal, time
from beam_pipeline.runtime.interrupts import stoppable
with stoppable("stopped", silent=False):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
"""
    assert run_script(script) == (143, "", "stopped\n")


def test_what_does_not_end_by_itself_is_ended():
    script = """
import os, signal, time
from beam_pipeline.runtime import interrupts
interrupts.GRACE_SECONDS = 0.2
with interrupts.stoppable("stopped"):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        time.sleep(60)
"""
    assert run_script(script) == (143, "", "stopped\n")


def test_a_signal_that_is_ignored_stays_ignored():
    """As in a script's background job: Ctrl-C there is not meant for it."""
    script = """
import os, signal
from beam_pipeline.runtime.interrupts import stoppable
signal.signal(signal.SIGINT, signal.SIG_IGN)
with stoppable("stopped") as stop:
    os.kill(os.getpid(), signal.SIGINT)
print(stop.status)
"""
    assert run_script(script) == (0, "None\n", "")


def test_outside_of_it_signals_are_as_they_were():
    from beam_pipeline.runtime.interrupts import stoppable

    before = signal.getsignal(signal.SIGTERM)
    with stoppable("stopped"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
