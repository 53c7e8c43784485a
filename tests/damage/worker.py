"""Runs commands in one warmed process: reads one JSON object a line, and answers each with one.

{"argv"} runs `captionbeam` with these arguments and is answered {"status", "out", "err", "trace", "seconds", "grown"},
where `trace` is the stack trace that the user would have seen, and `grown` the bytes that the process needed at most
beyond what it had. Pictures are encoded by a stand-in; METEOR and SPICE, programs in Java that take seconds, are left
out.
"""

import contextlib
import faulthandler
import io
import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from dataclasses import replace

ANSWERS = os.fdopen(os.dup(1), "w")
faulthandler.register(signal.SIGUSR1, os.fdopen(os.dup(2), "w"))  # for one that gives no answer
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)

import numpy as np  # noqa: E402

import beam_pipeline.encoders.registry as registry  # noqa: E402


class MeanColour:
    """Encoder whose features tell which picture they came from: the mean colour in the first three channels."""

    def encode(self, pixels):
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2)) / 64
        return features


registry.load_encoder = lambda spec: MeanColour()  # before the commands take it

import keras  # noqa: E402

import beam_pipeline.caption_images  # noqa: E402
import beam_pipeline.extract_features  # noqa: E402, F401
import training.scoring.java_metrics  # noqa: E402
import training.train  # noqa: E402
from beam_pipeline import cli  # noqa: E402

_with_defaults = training.train.with_defaults
training.train.with_defaults = lambda options: replace(_with_defaults(options), embedding_size=8, hidden_size=16)
for _metric in ("meteor", "spice"):
    setattr(training.scoring.java_metrics, _metric, lambda rows: ({}, "left out"))

_UNKNOWN = re.compile(r"details in (\S+\.log)")


def memory(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))


def run(argv: list[str]) -> dict:
    if {"train", "caption", "--captioner"} & set(argv):  # they build models; it collects garbage, which takes a second
        keras.backend.clear_session()
    logging.getLogger("captionbeam").handlers.clear()  # the command makes one for the standard error of now
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak counts anew
    out, err, trace = io.StringIO(), io.StringIO(), ""
    before, began = memory("VmRSS"), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = cli.main(argv)
        except SystemExit as error:
            status = int(error.code or 0)
        except BaseException:
            status, trace = 70, traceback.format_exc()
    if named := _UNKNOWN.search(err.getvalue()):
        with open(named[1]) as file:
            trace = file.read()
        with contextlib.suppress(OSError):
            os.remove(named[1])
    return {
        "status": status,
        "out": out.getvalue(),
        "err": err.getvalue(),
        "trace": trace,
        "seconds": time.monotonic() - began,
        "grown": memory("VmHWM") - before,
    }


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)["argv"])), file=ANSWERS, flush=True)


if __name__ == "__main__":
    main()
