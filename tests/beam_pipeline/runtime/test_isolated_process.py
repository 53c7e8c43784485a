"""Requests to a process of its own: answers, refusals, limits, and its death."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.runtime.isolated_process import IsolatedProcess, ProcessDied, Refused, RequestLimits
from training.errors import JobFailed

LIMITS = RequestLimits(processor_seconds=20, clock_seconds=60, memory_bytes=256 << 20, memory_per_byte=1 << 20)


@pytest.fixture
def start(monkeypatch):
    """handler of isolated_handlers.py, limits -> IsolatedProcess."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    processes = []

    def start(handler: str = "start", limits: RequestLimits = LIMITS) -> IsolatedProcess:
        processes.append(IsolatedProcess(f"isolated_handlers:{handler}", ["hello"], limits))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def test_parts_of_any_size_go_there_and_back(start):
    process = start()
    large = os.urandom(1 << 20)
    assert process.request(b"x", large, b"") == [b"hello", b"x", large, b""]
    assert process.request(b"y") == [b"hello", b"y"]


def test_a_refusal_is_the_reason_and_the_process_goes_on(start):
    process = start()
    with pytest.raises(Refused, match=r"not this\? one"):
        process.request(b"refuse")
    assert process.request(b"x") == [b"hello", b"x"]


def test_what_a_library_prints_is_no_answer(start):
    assert start().request(b"print") == [b"hello", b"print"]


@pytest.mark.parametrize(
    ("word", "limits", "cause", "too_slow"),
    [
        (b"exit", LIMITS, "exit status 3", False),
        (b"sleep", RequestLimits(60, 0.1, 1 << 28), "signal 9, killed", True),
        (b"loop", RequestLimits(0.1, 60, 1 << 28), f"signal {signal.SIGPROF:d}, profiling timer expired", True),
    ],
)
def test_a_death_has_a_cause(start, word, limits, cause, too_slow):
    process = start(limits=limits)
    with pytest.raises(ProcessDied) as raised:
        process.request(word)
    assert (str(raised.value), raised.value.too_slow) == (cause, too_slow)


def test_a_process_that_was_killed_between_requests_is_noticed(start):
    process = start()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessDied, match="signal 9, killed"):
        process.request(bytes(1 << 20))


@pytest.mark.skipif(sys.platform == "darwin", reason="takes no limit of memory")
def test_memory_is_limited_by_the_size_of_the_request(start):
    process = start()
    with pytest.raises(Refused, match="does not fit in memory"):
        process.request(b"hoard")
    small, large = (int(process.request(b"limit", bytes(size))[0]) for size in (0, 100))
    assert large - small == 100 << 20


def test_what_cannot_be_started_says_why(start):
    with pytest.raises(JobFailed, match=r"isolated_handlers:nowhere cannot be started: .*nowhere"):
        start("nowhere")


def test_a_process_that_is_stopped_is_ended_when_its_time_is_over(start):
    process = start(limits=RequestLimits(60, 0.1, 1 << 28))
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(ProcessDied) as raised:
        process.request(bytes(1 << 20))
    assert raised.value.too_slow


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_a_process_learns_no_secret_and_gets_no_new_right(start, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "HOME", "LD_PRELOAD", "http_proxy", "LC_TIME", "PYTHONPATH"):
        monkeypatch.setenv(name, "")
    proc = Path(f"/proc/{start().pid}")
    names = {line.split(b"=")[0].decode() for line in (proc / "environ").read_bytes().split(b"\0") if line}
    assert names <= {
        *("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_TIME"),
        *("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "OPENBLAS_NUM_THREADS"),
    }
    assert {"PATH", "LC_TIME"} <= names
    assert "NoNewPrivs:\t1\n" in (proc / "status").read_text()
    assert os.readlink(proc / "cwd") == "/"


def test_closing_ends_the_process(start):
    process = start()
    process.close()
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_decoder_loads_neither_beam_nor_tensorflow():
    script = (
        "import sys\n"
        "import beam_pipeline.images.decoder_process, beam_pipeline.exports.picture_metadata\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'keras') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
