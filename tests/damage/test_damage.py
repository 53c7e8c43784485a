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
    number: int = 100
    ours: bool = True
    one_in: int = 15
    removable: bool = False


_OF_FEATURES = ("status features", "inspect features", "inspect a picture of features", "verify features")
_WITH_FEATURES = ("extract", "train anew", "caption features anew", "evaluate")
_OF_CAPTIONER = ("status captioner", "inspect captioner")
_WITH_CAPTIONER = ("train", "caption features anew", "evaluate")
_CHECKS = ("status captions", "verify captions", "inspect a picture of captions")
_OF_CAPTIONS = (*_CHECKS, "inspect captions", "export", "report")
_COMPARE = ("compare", "compare the other way")
_RESULTS = ("inspect captions", "report", *_COMPARE)
TARGETS = (
    Target("features", "manifest.json", _OF_FEATURES, _WITH_FEATURES, 200),
    Target("features", "ledger-0001-00002-*", _OF_FEATURES, ("extract", "caption features anew"), 200),
    Target("features", "features-0001-00002-*", _OF_FEATURES, _WITH_FEATURES, 200),
    Target("captioner", "config.json", _OF_CAPTIONER, _WITH_CAPTIONER, 160),
    Target("captioner", "metrics.json", _OF_CAPTIONER, ("train",), 80, removable=True),
    Target("captioner", "progress.json", _OF_CAPTIONER, ("train",), 80),
    Target("captioner", "vocabulary.txt", _OF_CAPTIONER, _WITH_CAPTIONER, 100),
    Target("captioner", "captioner.weights.h5", _OF_CAPTIONER, _WITH_CAPTIONER, 120),
    Target("captioner", "word_counts.json", ("inspect captioner",), _WITH_CAPTIONER, 60, removable=True),
    Target("captioner", "presence*", _OF_CAPTIONER, _WITH_CAPTIONER, 60, removable=True),
    Target("captioner", "confidence*", _OF_CAPTIONER, _WITH_CAPTIONER, 80),
    Target("captioner", "checkpoint/*", _OF_CAPTIONER, ("train",), 20, one_in=4),
    Target("captions", "summary.json", (*_OF_CAPTIONS, *_COMPARE), ("caption",), 130),
    Target("captions", "ledger-0001-00002-*", _OF_CAPTIONS, ("caption", *_COMPARE), 150),
    Target("captions", "captions-0001-00002-*", _OF_CAPTIONS, ("caption", *_COMPARE), 150),
    Target("captions", "words-0001-00002-*", _CHECKS, ("caption", *_RESULTS), 100),
    Target("captions", "*_importance.csv", _CHECKS, ("caption", *_RESULTS), 40),
    Target("captions", "*_importance.parquet", (*_CHECKS, *_RESULTS), ("caption",), 40),
    Target("captions", "word_evidence.jsonl", (*_CHECKS, "report"), ("caption", *_RESULTS), 100),
    Target("captions", "thumbnails.zip", ("report",), ("caption",), 60),
    Target("lists", "captions.csv", ("extract captions.csv",), number=50, ours=False),
    Target("lists", "captions.token", ("extract captions.token",), number=50, ours=False),
    Target("lists", "images.txt", ("extract images.txt",), number=50, ours=False),
    Target("lists", "images.csv", ("extract images.csv",), number=50, ours=False),
    Target("lists", "images.jsonl", ("extract images.jsonl",), number=50, ours=False),
    Target("lists", "names.txt", ("evaluate results",), number=40, ours=False),
    Target("lists", "results.json", ("evaluate results",), number=40, ours=False),
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
            first = draw.randrange(target.one_in)
            for number, damage in enumerate(chosen):
                if draw.random() >= share or (target.removable and damage.label == "removed"):
                    continue
                some = target.some if number % target.one_in == first else ()
                for command in (*target.each, *some):
                    yield name, matrix.outcome(target.directory, name, damage, command, target.ours)


def faults_of(outcomes) -> list[str]:
    return [f"{name}, {one.damage}, {one.command}: {fault}" for name, one in outcomes for fault in one.faults]


# Commands that take a second or more even on these directories.
_SECONDS = {"inspect captioner", "inspect captions", *_COMPARE}


def test_a_sample_of_damages_is_survived(matrix):
    light = [replace(target, each=tuple(name for name in target.each if name not in _SECONDS)) for target in TARGETS]
    targets = [replace(target, some=()) for target in light if target.each and target.directory != "lists"]
    outcomes = list(run_targets(matrix, targets, 0.04, "sample"))
    assert len({(name, one.damage) for name, one in outcomes}) >= 80
    assert faults_of(outcomes) == []


@pytest.mark.damage
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.directory}/{target.files}")
def test_every_damage_is_survived(matrix, target):
    assert faults_of(run_targets(matrix, [target], 1.0, "damage")) == []
