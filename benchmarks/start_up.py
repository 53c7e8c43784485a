"""How long the first caption of a small folder takes from the shell's prompt, beside what people would write instead.

    python benchmarks/start_up.py --images DIR --weights PATH --captioner DIR [--pictures 5] [--rounds 3]

Three commands by turns, each a process of its own that begins with nothing loaded: `captionbeam --help`, `captionbeam
caption` of the first pictures of the folder with tables and report, and the script `one_by_one.py`, which prints the
same pictures' captions and nothing else. The first caption of `caption` is there when its file appears in the output,
that of the script when it is printed. Medians are printed, and ratios of the medians; processor time counts the
processes that a command started, so that it tells more than the clock on a machine that has other work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

_CAPTIONBEAM = (sys.executable, "-m", "beam_pipeline.cli")
_SCRIPT = Path(__file__).with_name("one_by_one.py")
_ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Run:
    """Seconds of one command.

    Attributes:
      first: to the first caption, by the clock; of a command without captions to its end.
      end: to its end, by the clock.
      processor: of all cores.
    """

    first: float
    end: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--weights", required=True, help="file of the encoder's weights")
    parser.add_argument("--captioner", required=True, help="directory that train made")
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    pictures = [path for path in sorted(Path(options.images).iterdir()) if path.suffix.lower() in _ENDINGS]
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        folder = Path(work) / "pictures"
        folder.mkdir()
        for path in pictures[: options.pictures]:
            shutil.copy(path, folder)
        compare(folder, options.weights, options.captioner, Path(work), options.rounds)


def compare(folder: Path, weights: str, captioner: str, work: Path, rounds: int) -> None:
    models = ("--weights", weights, "--captioner", captioner)
    pictures = sorted(map(str, folder.iterdir()))
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(rounds):
        output, printed = work / f"captions{number}", work / f"printed{number}"

        def captioned(output: Path = output) -> bool:
            return any(output.glob("captions-*.jsonl"))

        def said(printed: Path = printed) -> bool:
            return printed.stat().st_size > 0

        caption = (*_CAPTIONBEAM, "caption", *models, "--images", str(folder), "--output", str(output))
        runs["captionbeam --help"].append(measured((*_CAPTIONBEAM, "--help"), os.devnull, lambda: False))
        runs["captionbeam caption"].append(measured(caption, os.devnull, captioned))
        runs["the script"].append(measured((sys.executable, str(_SCRIPT), *models, *pictures), str(printed), said))
        for name, of in runs.items():
            print(f"round {number + 1}, {name}: {in_words(of[-1])}", flush=True)
    print(f"medians of {rounds} rounds, {len(pictures)} pictures")
    medians = {name: Run(*map(median, zip(*map(astuple, of), strict=True))) for name, of in runs.items()}
    for name, run in medians.items():
        print(f"{name}: {in_words(run)}")
    pairs = zip(astuple(medians["captionbeam caption"]), astuple(medians["the script"]), strict=True)
    first, end, processor = (ours / theirs for ours, theirs in pairs)
    print(
        f"captionbeam caption over the script: {first:.2f} to the first caption, {end:.2f} to the end, "
        f"{processor:.2f} of processor time"
    )


def measured(command: tuple[str, ...], printed: str, has_caption: Callable[[], bool]) -> Run:
    """Runs a command.

    Args:
      printed: file for its standard output.
      has_caption: whether its first caption is there.
    """
    first = None
    with open(printed, "wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            now = time.monotonic() - began
            if first is None and has_caption():
                first = now
            if ended:
                break
            time.sleep(0.01)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return Run(now if first is None else first, now, used.ru_utime + used.ru_stime)


def in_words(run: Run) -> str:
    first = "" if run.first == run.end else f"first caption after {run.first:.1f} s, "
    return f"{first}end after {run.end:.2f} s, {run.processor:.2f} s of processor time"


if __name__ == "__main__":
    main()
