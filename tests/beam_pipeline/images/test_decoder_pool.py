"""A picture that crashes, eats memory or never ends costs one answer, and the next picture is decoded."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_pipeline.images.decode import UnreadableImage, decode_image
from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.options.limits import DecodeLimits
from training.errors import JobFailed


@pytest.fixture
def start_pool(monkeypatch):
    """decoder of hostile_decoders.py, limits -> ImageDecoderPool of one process."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    pools = []

    def start(decoder: str, **limits) -> ImageDecoderPool:
        pools.append(ImageDecoderPool(DecodeLimits(decoder=f"hostile_decoders:{decoder}", **limits), processes=1))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


def test_pixels_are_those_of_a_decoder_in_the_same_process(start_pool, noisy_jpeg):
    pool = start_pool("obey")
    for seed in range(3):
        alone, isolated = decode_image(noisy_jpeg(seed)), pool.decode(noisy_jpeg(seed))
        assert np.array_equal(alone.pixels, isolated.pixels)
        assert (alone.width, alone.height) == (isolated.width, isolated.height)


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (b"crash", {}, r"crashes its decoder \(signal 11, segmentation fault\)"),
        (b"sleep", {"max_seconds": 0.05}, r"took more than 0\.05 seconds to decode; --max-seconds raises the limit"),
        (b"loop", {"max_seconds": 0.3}, r"took more than 0\.3 seconds"),
        (b"allocate", {"max_megapixels": 1}, "does not fit in memory when decoded"),
        (b"raise", {}, r"crashes its decoder \(exit status 1\)"),
        (b"no image", {}, "not an image of a known format"),
    ],
)
def test_a_hostile_picture_costs_one_answer(start_pool, noisy_jpeg, data, limits, reason):
    pool = start_pool("obey", **limits)
    with pytest.raises(UnreadableImage, match=reason):
        pool.decode(data)
    assert pool.decode(noisy_jpeg(0)).width == 64


def test_a_busy_machine_does_not_make_a_picture_slow(start_pool):
    """Half a second by the clock, and hardly any of the processor's time."""
    assert start_pool("obey", max_seconds=0.2).decode(b"wait").width == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="counts in another unit")
def test_big_scans_need_little_memory(start_pool):
    """150 megapixels of JPEG are decoded reduced."""
    buffer = io.BytesIO()
    Image.new("L", (15000, 10000), 90).save(buffer, "JPEG")
    pool = start_pool("obey")
    before = pool.decode(b"peak").width
    assert pool.decode(buffer.getvalue()).width == 15000
    assert pool.decode(b"peak").width - before < 100 << 10


def test_what_a_library_prints_is_no_answer(start_pool):
    pool = start_pool("obey")
    pid = pool.decode(b"pid").width
    assert pool.decode(b"chatter").width == pid
    assert pool.decode(b"pid").width == pid


def test_a_picture_does_not_pay_for_the_one_before(start_pool):
    pool = start_pool("crash_on_second_call")
    assert pool.decode(b"first").width == 1
    assert pool.decode(b"second").width == 1, "decoded in a fresh process"


def test_a_decoder_that_is_not_there_is_no_fault_of_the_picture(start_pool):
    with pytest.raises(JobFailed, match=r"cannot be started: .*no_such_decoder"):
        start_pool("no_such_decoder").decode(b"x")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_closing_ends_the_processes(start_pool):
    pool = start_pool("obey")
    pid = pool.decode(b"pid").width
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


KILLED_PARENT = """
import os, signal, threading
from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.options.limits import DecodeLimits
from training.errors import JobFailed
pool = ImageDecoderPool(DecodeLimits(decoder="hostile_decoders:obey", max_seconds=1), processes=1)
print(pool.decode(b"pid").width, flush=True)
if os.environ["THEN"] != "idle":
    threading.Thread(target=pool.decode, args=[b"loop"], daemon=True).start()
signal.pause()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("then", ["idle", "busy"])
def test_no_process_outlives_a_killed_job(then):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "THEN": then}
    command = [sys.executable, "-c", KILLED_PARENT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 120
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_processes_start_as_they_are_needed(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    pool = ImageDecoderPool(DecodeLimits(decoder="hostile_decoders:obey"), processes=8)
    try:
        assert len({pool.decode(b"pid").width for _ in range(4)}) == 1
    finally:
        pool.close()
