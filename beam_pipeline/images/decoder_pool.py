"""Decoding in processes of its own, so that a picture that crashes, eats memory or never ends costs one answer.

Decoders are C libraries fed with files from anywhere. Every picture is decoded in one of a few small processes that
live as long as the job: the bytes go in through a pipe, the pixels come back. It costs well under a millisecond a
picture (`benchmarks/isolation_overhead.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import queue
import threading

import numpy as np

from beam_pipeline.images.decode import INPUT_SIZE, DecodedImage, UnreadableImage
from beam_pipeline.images.decoder_process import ABOUT, start_decoder
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime.isolated_process import IsolatedProcess, ProcessDied, Refused, RequestLimits
from training.text.plurals import counted

_CLOCK_SECONDS_PER_PROCESSOR_SECOND = 10  # a decoder on a busy machine is slow by the clock and no fault of its picture
# Memory that one decoder may ask the system for, beyond what the process itself takes.
_BYTES_PER_PIXEL = 20  # Pillow's buffers for one picture
_BYTES_PER_FILE_BYTE = 3  # some decoders copy the file
_MARGIN = 512 << 20


class ImageDecoderPool:
    """Processes that decode pictures, started as they are needed; any number of threads may use it.

    Args:
      limits: what one picture may cost.
      processes: how many at most.
    """

    def __init__(self, limits: DecodeLimits, processes: int):
        self.limits = limits
        # Slots, the used ones on top: processes that are not needed are not started.
        self._slots: queue.LifoQueue[IsolatedProcess | None] = queue.LifoQueue()
        for _ in range(processes):
            self._slots.put(None)

    def decode(self, data: bytes) -> DecodedImage:
        """File content -> DecodedImage.

        Raises:
          UnreadableImage: the decoder says so, took too long, or died of it.
          JobFailed: decoder processes cannot be started at all.
        """
        process = self._slots.get()
        try:
            try:
                process = process or self._start()
                return _decode(process, data)
            except ProcessDied as death:
                process = None
                self._reject_slow(death)
                # Perhaps a picture before it did the harm. What happens in a fresh process is its own doing.
                process = self._start()
                return _decode(process, data)
        except ProcessDied as death:
            process = None
            self._reject_slow(death)
            raise UnreadableImage(f"crashes its decoder ({death})") from death
        except Refused as refusal:
            raise UnreadableImage(str(refusal)) from refusal
        except BaseException:
            process = None
            raise
        finally:
            self._slots.put(process)

    def _start(self) -> IsolatedProcess:
        limits = self.limits
        return IsolatedProcess(
            f"{start_decoder.__module__}:{start_decoder.__name__}",
            [limits.decoder, limits.max_megapixels, limits.views],
            RequestLimits(
                limits.max_seconds,
                limits.max_seconds * _CLOCK_SECONDS_PER_PROCESSOR_SECOND,
                int(limits.max_megapixels * 1e6) * _BYTES_PER_PIXEL + _MARGIN,
                _BYTES_PER_FILE_BYTE,
            ),
        )

    def _reject_slow(self, death: ProcessDied) -> None:
        if death.too_slow:
            raise UnreadableImage(
                f"took more than {counted(self.limits.max_seconds, 'second')} to decode; --max-seconds raises the limit"
            ) from death

    def close(self) -> None:
        """Ends the processes that are idle."""
        with contextlib.suppress(queue.Empty):
            while True:
                if process := self._slots.get_nowait():
                    process.close()


def _decode(process: IsolatedProcess, data: bytes) -> DecodedImage:
    about, pixels, views = process.request(data)
    shape = (-1, INPUT_SIZE, INPUT_SIZE, 3)
    (picture,) = np.frombuffer(pixels, np.uint8).reshape(shape)
    width, height, lacks_profile = ABOUT.unpack(about)
    return DecodedImage(picture, width, height, np.frombuffer(views, np.uint8).reshape(shape), lacks_profile)


_lock = threading.Lock()


def decoder_pool(limits: DecodeLimits, processes: int) -> ImageDecoderPool:
    """The process-wide pool for these limits; its decoders outlive a shard and end with the interpreter."""
    with _lock:  # lru_cache alone might make two
        return _decoder_pool(limits, processes)


@functools.lru_cache
def _decoder_pool(limits: DecodeLimits, processes: int) -> ImageDecoderPool:
    pool = ImageDecoderPool(limits, processes)
    atexit.register(pool.close)
    return pool
