"""What the commands cost that only look at results: processor time and peak memory, child processes counted.

    python benchmarks/light_commands.py --captions DIR --features DIR --captioner DIR [--against CHECKOUT]

Each command runs three times in a process of its own; the table gives the medians. Memory is the largest sum of the
resident memory of the command and its children, looked at every 5 ms (Linux only). `--against` names another checkout
of captionbeam, whose `.venv/bin/python` is used if it has one, and runs the same commands with its code in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_RUNS = 3
_EVERY = 0.005  # seconds between two looks at the memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", required=True, help="directory that caption made, small")
    parser.add_argument("--features", required=True, help="feature set")
    parser.add_argument("--captioner", required=True, help="directory that train made")
    parser.add_argument("--against", metavar="CHECKOUT", help="another checkout of captionbeam")
    options = parser.parse_args()
    checkouts = {"this code": ROOT}
    if options.against:
        checkouts = {"before": Path(options.against).resolve(), **checkouts}
    print(f"{'command':<38}" + "".join(f"{name + ' s':>14}{'MB':>8}" for name in checkouts))
    with tempfile.TemporaryDirectory() as directory:
        options.captions = shutil.copytree(options.captions, os.path.join(directory, "captions"))
        for title, arguments in commands(options, directory).items():
            fresh = title == "report, the first"
            measured = [cost(arguments, checkout, directory, fresh) for checkout in checkouts.values()]
            print(f"{title:<38}" + "".join(f"{seconds:>14.2f}{peak:>8.0f}" for seconds, peak in measured), flush=True)


def commands(options: argparse.Namespace, output: str) -> dict[str, list[str]]:
    """Title -> the arguments of a command, for every command that is meant to be light."""
    captions, features, captioner = (
        os.path.abspath(getattr(options, name)) for name in ("captions", "features", "captioner")
    )
    exports = {
        f"export --format {form}": ["export", captions, "--format", form, "--output", os.path.join(output, name)]
        for form, name in (("csv", "captions.csv"), ("coco", "captions.json"), ("txt", "texts"))
    }
    return {
        "--help": ["--help"],
        "extract --help": ["extract", "--help"],
        "completion bash": ["completion", "bash"],
        "status CAPTIONS": ["status", captions],
        "status FEATURES": ["status", features],
        "status CAPTIONER": ["status", captioner],
        "inspect CAPTIONS": ["inspect", captions],
        "inspect FEATURES": ["inspect", features],
        **exports,
        "report, the first": ["report", captions, "--output", os.path.join(output, "report.html")],
        "report": ["report", captions, "--output", os.path.join(output, "report.html")],
        "compare": ["compare", captions, captions, "--output", os.path.join(output, "comparison.csv")],
        "unknown stage": ["extrct"],
        "train, unknown option": ["train", "--features", features, "--output", output, "--epoch", "2"],
        "caption, wrong --captioner": ["caption", "--images", output, "--captioner", "none", "--output", output],
        "caption, wrong --images": ["caption", "--images", "none", "--captioner", captioner, "--output", output],
        "train, wrong --features": ["train", "--features", "none", "--output", output],
    }


def cost(arguments: list[str], checkout: Path, directory: str, fresh: bool) -> tuple[float, float]:
    """Arguments of the command -> (processor seconds, peak resident memory in MB), medians.

    Args:
      directory: holds the cache of the commands.
      fresh: whether each run begins with an empty cache.
    """
    python = checkout / ".venv" / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-m", "beam_pipeline.cli", *arguments]
    cache = os.path.join(directory, "cache")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": cache}
    runs = []
    for _ in range(_RUNS):
        if fresh:
            shutil.rmtree(cache, ignore_errors=True)
        before = processor_seconds()
        process = subprocess.Popen(
            command, env=environment, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(resident_mb, process_tree(process.pid))))
            time.sleep(_EVERY)
        runs.append((processor_seconds() - before, peak))
    seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
    return seconds, peak


def processor_seconds() -> float:
    """What all ended children of this process, and theirs, have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process_tree(pid: int) -> Iterator[int]:
    """A process, its children, their children and so on."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from process_tree(int(child))


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
