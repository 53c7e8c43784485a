"""Every file that a command reads, damaged: no stack trace, no hang, no flood of memory, no wrong result unnoticed."""

import random
from dataclasses import dataclass, replace
from fnmatch import fnmatch

import pytest

from tests.damage.damages import damages


@dataclass(frozen=True)
class Target:
    """Files of a directory, and the commands that read them.

    Attributes:
      directory: name of it.
      files: pattern of their names, relative to the directory.
      each: commands that follow every damage.
      some: commands that take seconds and follow one damage in `one_in`.
      number: damages of each file.
      ours: whether captionbeam made them.
      removable: whether the commands know the directory without them too, as one that is not finished, or as one that
        somebody told to do without them, as messages advise.
    """

    directory: str
    files: str
    each: tuple[str, ...]
    some: tuple[str, ...] = ()
    number: int = 150
    ours: bool = True
    one_in: int = 10
    removable: bool = False


_OF_FEATURES = ("status features", "inspect features", "inspect a picture of features", "verify features")
_OF_CAPTIONS = (
    "status captions",
    "inspect captions",
    "inspect a picture of captions",
    "verify captions",
    "export",
    "report",
    "compare",
    "compare the other way",
)
_OF_CAPTIONER = ("status captioner", "inspect captioner")
TARGETS = (
    Target("features", "manifest.json", _OF_FEATURES, ("extract", "train anew", "caption features anew"), 250),
    Target("features", "ledger-0001-00001-*", _OF_FEATURES, ("extract", "caption features anew"), 200),
    Target("features", "features-0001-00001-*", _OF_FEATURES, ("extract", "train anew", "caption features anew"), 200),
    Target("captioner", "config.json", _OF_CAPTIONER, ("train", "caption features anew"), 200),
    Target("captioner", "metrics.json", _OF_CAPTIONER, ("train",), 100, removable=True),
    Target("captioner", "progress.json", _OF_CAPTIONER, ("train",), 100),
    Target("captioner", "vocabulary.txt", _OF_CAPTIONER, ("train", "caption features anew"), 100),
    Target("captioner", "captioner.weights.h5", _OF_CAPTIONER, ("train", "caption features anew"), 150),
    Target("captioner", "word_counts.json", ("inspect captioner",), ("train", "caption features anew"), 60),
    Target("captioner", "presence*", _OF_CAPTIONER, ("train", "caption features anew"), 80, removable=True),
    Target("captioner", "confidence*", _OF_CAPTIONER, ("train", "caption features anew"), 100),
    Target("captioner", "checkpoint/*", _OF_CAPTIONER, ("train",), 20),
    Target("captions", "summary.json", _OF_CAPTIONS, ("caption",), 200),
    Target("captions", "ledger-0001-00001-*", _OF_CAPTIONS, ("caption",), 200),
    Target("captions", "captions-0001-00001-*", _OF_CAPTIONS, ("caption",), 200),
    Target("captions", "words-0001-00001-*", _OF_CAPTIONS, ("caption",), 100),
    Target("captions", "*_importance.*", _OF_CAPTIONS, ("caption",), 60),
    Target("captions", "word_evidence.jsonl", _OF_CAPTIONS, ("caption",), 100),
    Target("captions", "thumbnails.zip", ("report",), ("caption",), 100),
    Target("lists", "captions.csv", (), ("extract captions.csv",), 80, False, 1),
    Target("lists", "captions.token", (), ("extract captions.token",), 80, False, 1),
    Target("lists", "images.txt", (), ("extract images.txt",), 80, False, 1),
    Target("lists", "images.csv", (), ("extract images.csv",), 80, False, 1),
    Target("lists", "images.jsonl", (), ("extract images.jsonl",), 80, False, 1),
    Target("lists", "names.txt", (), ("evaluate results",), 40, False, 4),
    Target("lists", "results.json", (), ("evaluate results",), 60, False, 4),
)


def run_targets(matrix, targets, share: float, seed: str):
    """Runs the commands of each target on a share of its damages -> what they did."""
    for target in targets:
        folder = matrix.pristine / target.directory
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for name in names:
            if not fnmatch(name, target.files):
                continue
            chosen = damages(folder / name, target.number, seed, matrix.elsewhere)
            draw = random.Random(f"{seed} {name}")
            for number, damage in enumerate(chosen):
                if draw.random() >= share or (target.removable and damage.label == "removed"):
                    continue
                some = target.some if number % target.one_in == 0 else ()
                for command in (*target.each, *some):
                    yield name, matrix.outcome(target.directory, name, damage, command, target.ours)


def faults_of(outcomes) -> list[str]:
    return [f"{name}, {one.damage}, {one.command}: {fault}" for name, one in outcomes for fault in one.faults]


# Commands that take a second or more even on these directories.
_SECONDS = {"inspect captioner", "inspect captions", "compare", "compare the other way"}


def test_a_sample_of_damages_is_survived(matrix):
    light = [replace(target, each=tuple(name for name in target.each if name not in _SECONDS)) for target in TARGETS]
    targets = [replace(target, some=()) for target in light if target.each]
    outcomes = list(run_targets(matrix, targets, 0.04, "sample"))
    assert len({(name, one.damage) for name, one in outcomes}) >= 80
    assert faults_of(outcomes) == []


@pytest.mark.damage
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.directory}/{target.files}")
def test_every_damage_is_survived(matrix, target):
    assert faults_of(run_targets(matrix, [target], 1.0, "damage")) == []
