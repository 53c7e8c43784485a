"""Runs jobs in children forked from one process that has imported everything, so that a kill costs no start-up.

Reads one JSON object a line and answers with one. {"stage", "options", "fault", "log", "points"} starts a job and is
answered {"pid"}; {"wait": pid} is answered {"status"} when that job has ended. Pictures are encoded by a stand-in: it
is the pipeline that is of interest.

A fault point is a moment just before a file of the output is opened for writing, renamed or removed, so that points lie
between all writes, those of a shard's data and of its ledger too. Every point passed adds a byte to the file `points`.
"""

import errno
import json
import os
import resource
import signal
import sys
import traceback

from beam_pipeline import cli

cli.set_up_logging(verbose=False)  # as the command does, before Beam sets up its own

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402

from beam_pipeline.caption_images import caption  # noqa: E402
from beam_pipeline.extract_features import extract  # noqa: E402
from beam_pipeline.options.caption import CaptionOptions  # noqa: E402
from beam_pipeline.options.extract import ExtractOptions  # noqa: E402
from training.errors import UserError  # noqa: E402
from training.options import TrainOptions  # noqa: E402
from training.train import train  # noqa: E402


class MeanColour:
    """Encoder whose features tell which picture they came from: the mean colour in the first three channels."""

    def encode(self, pixels):
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels.mean(axis=(1, 2)) / 64
        return features


STAGES = {
    "extract": lambda options: extract(ExtractOptions(**options), PipelineOptions([]), lambda spec: MeanColour()),
    "caption": lambda options: caption(CaptionOptions(**options), PipelineOptions([]), lambda spec: MeanColour()),
    "train": lambda options: train(TrainOptions(**options)),
}


class Fault:
    """What happens at which point.

    Args:
      output: directory whose files count.
      points: file that counts them.
      fault: {"kill_at": n}, {"stop_at": n}, {"fail_at": n, "times": k}, {"file_bytes": n} or {}.
    """

    def __init__(self, output: str, points: str, fault: dict):
        self.output, self.fault = output, fault
        self.points = os.open(points, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.passed = 0

    def watch(self) -> None:
        if "file_bytes" in self.fault:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.fault["file_bytes"],) * 2)
        sys.addaudithook(self.audit)
        for name in ("rename", "copy", "remove"):  # TensorFlow works on files outside Python's sight
            self.wrap(tf.io.gfile, name)
        self.wrap(tf.train.Checkpoint, "save")

    def wrap(self, owner, name: str) -> None:
        function = getattr(owner, name)

        def wrapped(*args, **kwargs):
            self.point(can_fail=False)
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)

    def audit(self, event: str, args: tuple) -> None:
        if event == "open":
            path, _, flags = args
            if flags & (os.O_WRONLY | os.O_RDWR) and self.counts(path):
                self.point(can_fail=True)
        elif event in ("os.rename", "os.remove") and self.counts(args[0]):
            self.point(can_fail=event == "os.rename")  # removing works on a full disk

    def counts(self, path) -> bool:
        return isinstance(path, str) and path.startswith(self.output + os.sep) and not path.endswith(".lock")

    def point(self, can_fail: bool) -> None:
        here = self.passed
        self.passed += 1
        os.write(self.points, b".")
        if here == self.fault.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if here == self.fault.get("stop_at"):
            os.kill(os.getpid(), signal.SIGSTOP)
        begin = self.fault.get("fail_at")
        if can_fail and begin is not None and begin <= here < begin + self.fault["times"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run(job: dict) -> int:
    """The job as `captionbeam` runs it -> exit status; 70 for an error that no person should see."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(0)
    try:
        Fault(job["options"]["output"], job["points"], job["fault"]).watch()
        STAGES[job["stage"]](job["options"])
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if "ready" in job:
            answer = job
        elif "wait" in job:
            answer = {"status": os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])}
        else:
            child = os.fork()
            if not child:
                status = run(job)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            answer = {"pid": child}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
