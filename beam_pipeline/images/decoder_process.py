"""The process in which untrusted pictures are decoded: one after another, each under limits of time and memory.

It is started by `isolated_decoding.py`, which speaks with it through its standard input and output. It imports
neither Beam nor TensorFlow, so that it starts in a fraction of a second and stays small.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import struct
import sys
from typing import BinaryIO

REQUEST = struct.Struct("<Q")  # bytes of the file that follows
READY, BROKEN = b"R", b"B"  # first byte of the process: it has started, or why it cannot (REASON follows)
DECODED, REJECTED = b"D", b"X"  # first byte of an answer: PICTURE, pixels and views follow, or REASON and its text
PICTURE = struct.Struct("<III")  # width, height, number of views
REASON = struct.Struct("<I")  # bytes of UTF-8 text that follow

TOO_SLOW = (-signal.SIGPROF, -signal.SIGALRM)  # exit statuses of a process whose picture took too long
# A decoder that computes is measured by the processor time that it gets, or a busy machine would reject good pictures;
# one that sleeps is only measured by the clock.
PATIENCE = 10

# Decoders take what the encoder leaves of the processors: at equal rights its threads would wait for one another while
# one of them is off. When it waits for pictures instead, they have everything.
NICENESS = 10

# What one decoder may ask the system for, beyond what the process itself takes: Pillow's buffers for one picture.
_BYTES_PER_PIXEL = 20
_BYTES_PER_FILE_BYTE = 3  # some decoders copy the file
_MARGIN = 512 << 20


def main(decoder: str, max_megapixels: float, max_seconds: float, views: int) -> None:
    """Serves until its input ends.

    Args:
      decoder: `module:function` of (bytes, max_megapixels, views) -> DecodedImage, which raises UnreadableImage.
      max_megapixels: passed on to it; with the size of the file it bounds the memory.
      max_seconds: of processor time for a picture, after which the process ends by SIGPROF; PATIENCE times as many by
        the clock, after which it ends by SIGALRM.
      views: passed on to it.
    """
    requests, answers = sys.stdin.buffer, _take_standard_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected here and leaves nothing behind
    _offer_to_the_oom_killer()
    os.nice(NICENESS)
    try:
        module, _, function = decoder.partition(":")
        decode = getattr(importlib.import_module(module), function)
        from PIL import Image

        from beam_pipeline.images.decode import UnreadableImage

        Image.init()  # loads all of Pillow's decoders, which is no picture's fault
    except Exception as error:
        _answer(answers, BROKEN, _text(repr(error)))
        return
    _answer(answers, READY)
    own_memory = _address_space()
    while header := requests.read(REQUEST.size):
        (size,) = REQUEST.unpack(header)
        data = requests.read(size)
        if len(data) < size:
            return  # the parent is gone
        pixels = int(max_megapixels * 1e6) * _BYTES_PER_PIXEL
        _limit_memory(own_memory + pixels + size * _BYTES_PER_FILE_BYTE + _MARGIN)
        _set_timers(max_seconds)
        try:
            image = decode(data, max_megapixels, views)
            header = PICTURE.pack(image.width, image.height, len(image.views))
            answer: tuple[bytes, ...] = (DECODED, header, image.pixels.tobytes(), image.views.tobytes())
        except UnreadableImage as error:
            answer = (REJECTED, _text(str(error)))
        except MemoryError:
            answer = (REJECTED, _text("does not fit in memory when decoded"))
        _set_timers(0)
        del data
        _answer(answers, *answer)


def _set_timers(max_seconds: float) -> None:
    # Their default action ends the process even inside a C loop, and also when nobody waits for it any more.
    signal.setitimer(signal.ITIMER_PROF, max_seconds)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * max_seconds)


def _answer(answers: BinaryIO, *parts: bytes) -> None:
    for part in parts:
        answers.write(part)
    answers.flush()


def _text(reason: str) -> bytes:
    encoded = reason.encode(errors="replace")
    return REASON.pack(len(encoded)) + encoded


def _take_standard_output() -> BinaryIO:
    """The pipe to the parent; what a decoder's library prints must not get into it."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _offer_to_the_oom_killer() -> None:
    # When memory runs out, a decoder is to die and not the job.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _address_space() -> int:
    """Bytes of address space that the process has now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit_memory(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS has the limit and does not take it
        resource.setrlimit(resource.RLIMIT_AS, (size, hard))
