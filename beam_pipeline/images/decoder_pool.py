"""Decoding in processes of its own, so that a picture that crashes, eats memory or never ends costs one answer.

Decoders are C libraries fed with files from anywhere. Every picture is decoded in one of a few small processes that
live as long as the job: the bytes go in through a pipe, the pixels come back. It costs well under a millisecond a
picture (`benchmarks/isolation_overhead.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import queue
import signal
import subprocess
import sys
import threading
from typing import BinaryIO

import numpy as np

from beam_pipeline.images import decoder_process as protocol
from beam_pipeline.images.decode import INPUT_SIZE, DecodedImage, UnreadableImage
from beam_pipeline.options.limits import DecodeLimits

_START = "import json, sys; path, *rest = json.loads(sys.argv[1]); sys.path[:] = path; from {} import main; main(*rest)"


class DecoderDied(Exception):
    """The process ended in the middle of a picture; `status` is its exit status, negative for a signal."""

    def __init__(self, status: int):
        super().__init__(f"exit status {status}")
        self.status = status


class DecoderPool:
    """Decoder processes, started as they are needed; any number of threads may use it.

    Args:
      limits: what one picture may cost.
      processes: how many at most.
    """

    def __init__(self, limits: DecodeLimits, processes: int):
        self.limits = limits
        # Slots, the used ones on top: processes that are not needed are not started.
        self._slots: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes):
            self._slots.put(None)

    def decode(self, data: bytes) -> DecodedImage:
        """File content -> DecodedImage.

        Raises:
          UnreadableImage: the decoder says so, took too long, or died of it.
          RuntimeError: decoder processes cannot be started at all.
        """
        decoder = self._slots.get()
        try:
            try:
                decoder = decoder or _Decoder(self.limits)
                return decoder.decode(data)
            except DecoderDied as death:
                decoder = None
                self._refuse_slow(death)
                # Perhaps a picture before it did the harm. What happens in a fresh process is its own doing.
                decoder = _Decoder(self.limits)
                return decoder.decode(data)
        except DecoderDied as death:
            decoder = None
            self._refuse_slow(death)
            raise UnreadableImage(f"crashes its decoder ({_cause(death.status)})") from death
        except UnreadableImage:
            raise
        except BaseException:  # interrupted while an answer was on its way: nobody else may read it
            if decoder:
                decoder.close()
            decoder = None
            raise
        finally:
            self._slots.put(decoder)

    def _refuse_slow(self, death: DecoderDied) -> None:
        if death.status in protocol.TOO_SLOW:
            raise UnreadableImage(
                f"took more than {self.limits.max_seconds:g} seconds to decode; --max-seconds raises the limit"
            ) from death

    def close(self) -> None:
        """Ends the processes that are idle."""
        with contextlib.suppress(queue.Empty):
            while True:
                if decoder := self._slots.get_nowait():
                    decoder.close()


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"signal {-status}, {signal.strsignal(-status)}".lower()


class _Decoder:
    """One decoder process."""

    def __init__(self, limits: DecodeLimits):
        arguments = [sys.path, limits.decoder, limits.max_megapixels, limits.max_seconds, limits.views]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(protocol.__name__), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries grumble there about every odd file
        )
        assert self._process.stdin and self._process.stdout
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._answers: BinaryIO = self._process.stdout  # type: ignore[assignment]
        try:
            started = self._read(1)
            why = self._read_text() if started != protocol.READY else ""
        except DecoderDied as death:
            why = f"{_cause(death.status)} at its start"
        if why:
            self.close()
            raise RuntimeError(f"a process to decode pictures in cannot be started: {why}")

    def decode(self, data: bytes) -> DecodedImage:
        """Raises UnreadableImage, or DecoderDied if the process is gone."""
        try:
            self._requests.write(protocol.REQUEST.pack(len(data)))
            self._requests.write(data)
            self._requests.flush()
        except BrokenPipeError:
            raise DecoderDied(self._reap()) from None
        if self._read(1) == protocol.REJECTED:
            raise UnreadableImage(self._read_text())
        width, height, views = protocol.PICTURE.unpack(self._read(protocol.PICTURE.size))
        pixels = np.frombuffer(self._read((1 + views) * INPUT_SIZE * INPUT_SIZE * 3), np.uint8)
        pixels = pixels.reshape(1 + views, INPUT_SIZE, INPUT_SIZE, 3)
        return DecodedImage(pixels[0], width, height, pixels[1:])

    def _read(self, size: int) -> bytes:
        data = self._answers.read(size)
        if len(data) < size:
            raise DecoderDied(self._reap())
        return data

    def _read_text(self) -> str:
        (size,) = protocol.REASON.unpack(self._read(protocol.REASON.size))
        return self._read(size).decode()

    def _reap(self) -> int:
        """Closes the pipes of a process that is ending -> its exit status."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        return self._process.wait()

    def close(self) -> None:
        self._process.kill()  # it holds nothing that could be lost
        self._reap()


_lock = threading.Lock()


def decoder_pool(limits: DecodeLimits, processes: int) -> DecoderPool:
    """The process-wide pool for these limits; its decoders outlive a shard and end with the interpreter."""
    with _lock:  # lru_cache alone might make two
        return _decoder_pool(limits, processes)


@functools.lru_cache
def _decoder_pool(limits: DecodeLimits, processes: int) -> DecoderPool:
    pool = DecoderPool(limits, processes)
    atexit.register(pool.close)
    return pool
