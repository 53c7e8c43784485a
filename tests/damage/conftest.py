"""`matrix`: directories of every kind, small, and a process that runs commands on damaged copies of them."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.damage.damages import Damage, restore

ROOT = Path(__file__).parents[2]
PICTURES = 12
HANG_SECONDS = 90  # a command on these directories takes some seconds at most
MOST_GROWN = 400 << 20  # bytes that a command on them may need beyond what the process has


class Worker:
    """See `worker.py`; one that hangs is killed, and the next command gets a new one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._stacks = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open for the processes of this object)

    def run(self, *argv: str) -> dict:
        if self._process is None:
            variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stacks,
                text=True,
                env={**os.environ, **variables},
            )
            self.run("--version")
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps({"argv": argv}) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], HANG_SECONDS)
        answer = process.stdout.readline() if ready else ""
        if not answer:
            if not ready:
                process.send_signal(signal.SIGUSR1)  # it writes the stack of every thread
                time.sleep(1)
            process.kill()
            died = process.wait()
            self._process = None
            self._stacks.seek(0)
            stacks = self._stacks.read()
            why = f"died with {died}" if ready else f"gave no answer in {HANG_SECONDS} s: {stacks}"
            return {"status": -1, "out": "", "err": "", "trace": why, "seconds": HANG_SECONDS, "grown": 0}
        return json.loads(answer)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait()


@dataclass
class Outcome:
    """What a command did with a damaged file: nothing wrong if `faults` is empty."""

    damage: str
    command: str
    faults: list[str] = field(default_factory=list)
    noticed: bool = False
    seconds: float = 0.0


@pytest.fixture(scope="session")
def matrix(tmp_path_factory, worker, draw_squares):
    matrix = Matrix(tmp_path_factory.mktemp("damage"), worker)
    matrix.make(draw_squares)
    return matrix


@pytest.fixture(scope="session")
def worker():
    worker = Worker()
    yield worker
    worker.close()


class Matrix:
    """Directories that commands read, and what the commands say of them undamaged.

    Args:
      root: folder of everything: `pristine` keeps the directories as they were made, `work` is damaged.
      worker: runs the commands.
    """

    def __init__(self, root: Path, worker: Worker):
        self.root, self.worker = root, worker
        self.pristine, self.work, self.elsewhere = (root / name for name in ("pristine", "work", "elsewhere"))
        for folder in (self.pristine, self.work, self.elsewhere):
            folder.mkdir()
        self._sound: dict[str, Said] = {}
        self._damaged = "captions"  # the directory that the last command found damaged

    def must(self, *argv: str) -> None:
        answer = self.worker.run(*argv)
        assert answer["status"] == 0, answer["err"] + answer["trace"]

    def make(self, draw_squares: Callable[[Path, int], dict[str, tuple[int, int, int]]]) -> None:
        """Makes one directory of every kind by the commands, and keeps copies."""
        photos = self.work / "photos"
        photos.mkdir()
        rows = ["image,caption"]
        for name, (red, _, _) in draw_squares(photos, PICTURES).items():
            word = "dark" if red < 128 else "light"
            rows += [f"{name},a {word} square", f"{name},the square is {word} and green"]
        lists = self.work / "lists"
        lists.mkdir()
        (lists / "captions.csv").write_text("\n".join(rows) + "\n")
        (lists / "captions.token").write_text(
            "".join(f"{row.split(',')[0]}#{n % 2}\t{row.split(',')[1]}\n" for n, row in enumerate(rows[1:]))
        )
        (lists / "images.txt").write_text("".join(f"{photos}/{number:02d}.png\n" for number in range(PICTURES)))
        (lists / "images.csv").write_text(
            "image,caption\n" + "".join(f"{photos}/{number:02d}.png,a dog\n" for number in range(PICTURES))
        )
        (lists / "images.jsonl").write_text(
            "".join(json.dumps({"image": f"{photos}/{number:02d}.png"}) + "\n" for number in range(PICTURES))
        )
        (lists / "names.txt").write_text("".join(f"{number:02d}.png\n" for number in range(PICTURES)))
        (lists / "dev.txt").write_text("00.png\n05.png\n10.png\n")
        (lists / "results.json").write_text(
            json.dumps([{"image_id": f"{number:02d}.png", "caption": "a dark square"} for number in range(PICTURES)])
        )
        weights = self.work / "lists" / "weights.h5"
        weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
        self.must(*self.command("extract"))
        self.must(*self.command("train"))
        self.must(*self.command("caption"))
        self.must(*self.command("caption features"))
        for name in ("photos", "lists", "features", "captioner", "captions", "of_features"):
            restore(self.work / name, self.pristine / name)

    def command(self, name: str) -> list[str]:
        """Name of a command line below -> its arguments."""
        return [part.format(work=self.work, out=self.work / "out") for part in COMMANDS[name].split()]

    def outcome(self, directory: str, file: str, damage: Damage, name: str, ours: bool) -> Outcome:
        """Runs a command on a damaged file: the directory is restored first.

        Args:
          directory: name of the directory.
          file: path of the file in it.
          damage: what happens to the file.
          name: of the command, a key of COMMANDS.
          ours: whether captionbeam made the file: the result must be as if it were undamaged, or the file named.
        """
        sound = self.sound(directory, name)
        self._fresh(directory)
        damage.apply(self.work / directory / file)
        answer = self.worker.run(*self.command(name))
        outcome = Outcome(damage.label, name, noticed=answer["status"] != 0, seconds=answer["seconds"])
        if answer["trace"]:
            outcome.faults.append(f"stack trace: {answer['trace'][-1500:]}")
        elif answer["grown"] > MOST_GROWN:
            outcome.faults.append(f"took {answer['grown'] >> 20} MiB")
        elif answer["status"] == 0 and ours:
            now = self._said(answer, name)
            if now.lines != sound.lines and not _is_named(file, sound, now):
                outcome.faults.append(f"ended well with another result: {_difference(sound.lines, now.lines)}")
            own = str(Path(directory, file))  # a command that does not read it leaves it as it is
            names = sorted(
                name for name in {*sound.files, *now.files} - {own} if sound.files.get(name) != now.files.get(name)
            )
            if names and (name in WRITES or not _is_named(file, sound, now)):
                outcome.faults.append(f"ended well with other files: {', '.join(names)}")
        elif answer["status"] != 0 and ours and file.rsplit("/")[-1] not in answer["err"] + answer["out"]:
            outcome.faults.append(f"the file is not named: {answer['err'][-500:]}")
        elif answer["status"] != 0 and len(answer["err"].strip().splitlines()) > 20:
            outcome.faults.append(f"more than a few lines: {answer['err'][:500]}")
        return outcome

    def sound(self, directory: str, name: str) -> "Said":
        if name not in self._sound:
            self._fresh(directory)
            answer = self.worker.run(*self.command(name))
            assert not answer["trace"], answer["trace"]
            self._sound[name] = self._said(answer, name)
        return self._sound[name]

    def _fresh(self, directory: str) -> None:
        for name in {directory, self._damaged}:
            restore(self.pristine / name, self.work / name)
        self._damaged = directory
        _remove(self.work / "out")

    def _said(self, answer: dict, name: str) -> "Said":
        lines = [_IN_THIS_RUN.sub("", line) for line in answer["out"].splitlines() if "last written" not in line]
        files = {}
        for folder in ("out", WRITES.get(name, "out")):
            top = self.work / folder
            found = [path for path in top.rglob("*") if path.is_file()] if top.is_dir() else [top] * top.exists()
            files |= {str(path.relative_to(self.work)): _content(path) for path in found}
        return Said([f"status {answer['status']}", *lines], answer["err"], files)


@dataclass(frozen=True)
class Said:
    """What a command said and wrote: lines of its output, its messages, and {path: content} of the files."""

    lines: list[str]
    messages: str
    files: dict[str, object]


def _is_named(file: str, sound: Said, now: Said) -> bool:
    """Whether a command names the file, which it does not do undamaged."""
    name = file.rsplit("/")[-1]
    return any(name in new and name not in old for new, old in zip(_text(now), _text(sound), strict=True))


def _text(said: Said) -> tuple[str, str]:
    return "\n".join(said.lines), said.messages


def _content(path: Path) -> object:
    """A file -> its content; without what the last run alone did."""
    data = path.read_bytes()
    if path.name not in ("manifest.json", "summary.json"):
        return data
    document = json.loads(data)
    document.pop("checksum")
    document["totals"] = {name: value for name, value in document["totals"].items() if not name.startswith("new_")}
    return document


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _difference(first: list[str], second: list[str]) -> str:
    for one, two in zip(first, second, strict=False):
        if one != two:
            return f"{one[:200]!r} and {two[:200]!r}"
    return f"{len(first)} and {len(second)} lines"


_WEIGHTS = "--weights {work}/lists/weights.h5"
_FEATURES = f"{_WEIGHTS} --feature-kind pooled --precision float32 --shard-size 5"
_TRAIN = (
    "train --features {work}/features --model merge --epochs 1 --batch-size 4 "
    "--dev-list {work}/lists/dev.txt --self-critical-epochs 0 --output"
)
_EVALUATE = "evaluate --features {work}/features --output {out}"
WRITES = {"extract": "features", "train": "captioner", "caption": "captions"}  # what these commands change, in place
_IN_THIS_RUN = re.compile(r" \(\d+ done in this run\)")
COMMANDS = {
    "extract": f"extract --images {{work}}/photos --captions {{work}}/lists/captions.csv {_FEATURES} "
    "--output {work}/features",
    "train": f"{_TRAIN} {{work}}/captioner",
    "train anew": f"{_TRAIN} {{out}}",
    "caption": f"caption --images {{work}}/photos --captioner {{work}}/captioner {_WEIGHTS} --shard-size 5 "
    "--output {work}/captions",
    "caption features": "caption --features {work}/features --captioner {work}/captioner --output {work}/of_features",
    "caption features anew": "caption --features {work}/features --captioner {work}/captioner --output {out} "
    "--no-report",
    **{f"status {name}": f"status {{work}}/{name}" for name in ("features", "captioner", "captions")},
    **{f"inspect {name}": f"inspect {{work}}/{name} --json" for name in ("features", "captioner", "captions")},
    "inspect a picture of features": "inspect {work}/features 03.png",
    "inspect a picture of captions": "inspect {work}/captions 03.png",
    "verify features": "verify {work}/features --sample 0",
    "verify captions": "verify {work}/captions --sample 0",
    "export": "export {work}/captions --format csv --output {out}",
    "report": "report {work}/captions --output {out}",
    "compare": "compare {work}/captions {work}/of_features --output {out}",
    "compare the other way": "compare {work}/of_features {work}/captions --output {out}",
    "evaluate": f"{_EVALUATE} --captioner {{work}}/captioner --list {{work}}/lists/names.txt",
    "evaluate results": f"{_EVALUATE} --captions {{work}}/lists/results.json --list {{work}}/lists/names.txt",
    **{
        f"extract {name}": f"extract --images {{work}}/photos --captions {{work}}/lists/{name} {_FEATURES} "
        "--output {out} --dry-run"
        for name in ("captions.csv", "captions.token")
    },
    **{
        f"extract {name}": f"extract --images {{work}}/lists/{name} {_FEATURES} --output {{out}} --dry-run"
        for name in ("images.txt", "images.csv", "images.jsonl")
    },
}
