"""Decoders that do what a broken C library may do, when a file tells them to; they run in decoder processes only."""

import os
import resource
import signal
import time

import numpy as np

from beam_pipeline.images.decode import DecodedImage, decode_image

calls = 0


def obey(data: bytes, max_megapixels: float, views: int) -> DecodedImage:
    """Does what the file says; decodes any other file."""
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif data == b"sleep":
        time.sleep(3600)
    elif data == b"peak":
        return number(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB; on macOS bytes
    elif data == b"wait":
        time.sleep(0.5)
        return number(1)
    elif data == b"loop":
        while True:
            pass
    elif data == b"allocate":
        hoard = []
        while True:
            hoard.append(np.empty(1 << 26, np.uint8))
    elif data == b"raise":
        raise KeyError("a bug")
    elif data == b"chatter":
        os.write(1, b"chatter of a library")
        print("more of it", flush=True)
        return number(os.getpid())
    elif data == b"pid":
        return number(os.getpid())
    return decode_image(data, max_megapixels)


def crash_on_second_call(data: bytes, max_megapixels: float, views: int) -> DecodedImage:
    """A decoder whose memory the first picture has spoilt."""
    global calls
    calls += 1
    if calls == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number(calls)


def number(value: int) -> DecodedImage:
    return DecodedImage(np.zeros([299, 299, 3], np.uint8), value, 1)
