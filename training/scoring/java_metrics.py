"""METEOR and SPICE, whose programs are in Java; left out with a reason if these cannot run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.clock import time_limit
from training.scoring.scores import CaptionSet, Statistics, mean_statistics
from training.scratch import scratch_directory

METEOR_SECONDS = 600  # for a set: it loads a paraphrase table of 60 MB, then scores some hundred captions a second
SPICE_SECONDS = 3600  # for all sets: it parses every sentence

NO_JAVA = "it needs Java, and none was found"
# METEOR 1.5's own numbers for English: Denkowski and Lavie 2014, table 1. Matches are exact, by stem, by synonym, by
# paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCH_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
_METEOR_STATISTICS = 23
# pycocoevalcap downloads these on first use; this program downloads nothing by itself.
_CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


def java_statistics(rows: Mapping[str, CaptionSet]) -> tuple[dict[str, list[Statistics]], dict[str, str]]:
    """Sets of captions -> statistics of METEOR and SPICE of each, where they can run; {metric: why it is left out}."""
    statistics: dict[str, list[Statistics]] = {name: [] for name in rows}
    left_out = {}
    for metric, measure in (("METEOR", meteor), ("SPICE", spice)):
        measured, why = measure(rows)
        for name, one in measured.items():
            statistics[name].append(one)
        if not measured:
            left_out[metric] = why
    return statistics, left_out


def meteor(rows: Mapping[str, CaptionSet], limit_s: float = METEOR_SECONDS) -> tuple[dict[str, Statistics], str]:
    """METEOR (Denkowski and Lavie 2014, "Meteor universal") of each set, or none and why.

    Args:
      rows: sets of captions to score.
      limit_s: seconds for a set, after which the Java program is ended.
    """
    if shutil.which("java") is None:
        return {}, NO_JAVA
    from pycocoevalcap.meteor.meteor import Meteor

    try:
        program = Meteor()
    except OSError as error:
        return {}, f"its Java program cannot be started ({error})"
    measured, too_slow = {}, False
    try:
        for name, row in rows.items():
            with time_limit(limit_s, program.meteor_p.kill) as limit:
                try:
                    lines = [
                        program._stat(row.hypotheses[picture][0], row.references[picture]) for picture in row.hypotheses
                    ]
                finally:
                    too_slow = limit.is_over
            measured[name] = Statistics(("METEOR",), _meteor_values(lines), _meteor_of)
    except (OSError, ValueError) as error:
        why = f"did not answer within {limit_s:g} s" if too_slow else f"failed ({error})"
        return {}, f"its Java program {why}"
    finally:
        with contextlib.suppress(OSError):
            program.meteor_p.stdin.close()
    return measured, ""


def _meteor_values(lines: list[str]) -> np.ndarray:
    """Lines that METEOR prints, one for each picture -> float64 [N, 23]: words, matches, chunks."""
    values = np.array([[float(number) for number in line.split()] for line in lines if line], np.float64)
    if values.shape != (len(lines), _METEOR_STATISTICS):
        raise ValueError("it gave no statistics for some caption")
    # METEOR counts no chunk of a caption that equals its reference.
    same = (values[:, 20] == 1) & (values[:, 21] == values[:, 0]) & (values[:, 22] == values[:, 1])
    values[same, 20] = 0
    return values


def _meteor_of(sums: np.ndarray) -> np.ndarray:
    """Sums of METEOR's statistics, float64 [..., 23] -> METEOR of the set, float64 [..., 1].

    Kinds of words are content and function words, and each of the four kinds of match has four counts: content words
    of caption and reference, then function words of both.
    """
    words, matches, chunks = sums[..., :4], sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4), sums[..., 20]

    def share(side: int) -> np.ndarray:
        matched = _DELTA * matches[..., side] + (1 - _DELTA) * matches[..., 2 + side]  # (..., kind of match)
        function = words[..., 2 + side]
        return _ratio(matched @ _MATCH_WEIGHTS, _DELTA * (words[..., side] - function) + (1 - _DELTA) * function)

    precision, recall = share(0), share(1)
    mean = _ratio(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragments = _ratio(chunks, (sums[..., 21] + sums[..., 22]) / 2)
    return (mean * (1 - _GAMMA * fragments**_BETA))[..., None]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def spice(
    rows: Mapping[str, CaptionSet], folder: Path | None = None, limit_s: float = SPICE_SECONDS
) -> tuple[dict[str, Statistics], str]:
    """SPICE (Anderson et al. 2016, "SPICE: Semantic propositional image caption evaluation") of each set, or none and
    why.

    Args:
      rows: sets of captions to score; one call of the Java program does all.
      folder: with `spice-1.0.jar`; None for pycocoevalcap's.
      limit_s: seconds after which the Java program is ended.
    """
    if shutil.which("java") is None:
        return {}, NO_JAVA
    if folder is None:
        spec = importlib.util.find_spec("pycocoevalcap.spice")
        if spec is None or spec.origin is None:
            return {}, "this pycocoevalcap has no SPICE"
        folder = Path(spec.origin).parent
    if not all((folder / "lib" / name).exists() for name in _CORENLP):
        return {}, f"it needs {' and '.join(_CORENLP)} in {folder / 'lib'}"
    asked = [
        {"image_id": f"{number} {picture}", "test": row.hypotheses[picture][0], "refs": row.references[picture]}
        for number, row in enumerate(rows.values())
        for picture in row.hypotheses
    ]
    with scratch_directory() as directory:
        question, answer, cache = (Path(directory) / name for name in ("in.json", "out.json", "cache"))
        cache.mkdir()
        question.write_text(json.dumps(asked), encoding="utf-8")
        command = ["java", "-jar", "-Xmx8G", "spice-1.0.jar", str(question)]
        command += ["-cache", str(cache), "-out", str(answer), "-subset", "-silent"]
        try:
            with (
                subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program,
                time_limit(limit_s, program.kill) as limit,
            ):
                _, complaint = program.communicate()
            if limit.is_over:
                return {}, f"its Java program did not end within {limit_s:g} s"
            if program.returncode:
                lines = complaint.decode(errors="replace").strip().splitlines()
                return {}, f"its Java program failed ({lines[0] if lines else f'status {program.returncode}'})"
            given = {one["image_id"]: one["scores"]["All"]["f"] for one in json.loads(answer.read_bytes())}
            scores = [float(given[one["image_id"]]) for one in asked]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return {}, f"its Java program gave no scores ({error!r})"
    # An empty caption with empty references gives 0/0.
    values = iter(np.nan_to_num(scores, nan=0.0))
    return {name: mean_statistics("SPICE", [next(values) for _ in row.hypotheses]) for name, row in rows.items()}, ""
