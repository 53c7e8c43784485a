"""What a limit on confidence gives: of captions that are scored, the share that is kept and how good those are."""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.decoding.decoder import Hypothesis
from training.models.calibration import figures, in_words
from training.models.confidence import DIGITS, Confidence, half_of
from training.scoring.acceptance import Acceptance, acceptance
from training.scoring.scores import Captions, References, caption_set, cider_of_pictures
from training.storage import write_json, write_text

CURVE, MEASURED = "confidence_curve.csv", "confidence.json"
COLUMNS = ("min_confidence", "captions", "kept", "accepted", "CIDEr")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))


@dataclass
class Confidences:
    """Confidence of scored captions, collected while they are made.

    Attributes:
      judge: of the captioner.
      each: listed name -> confidence.
      held_out: names whose confidence comes from the half of the dev pictures that they are not in.
      flagged: flag -> listed names whose captions have it.
    """

    judge: Confidence
    each: dict[str, float] = field(default_factory=dict)
    held_out: int = 0
    flagged: dict[str, list[str]] = field(default_factory=dict)

    def add(self, names: Sequence[str], sha256: str, hypothesis: Hypothesis) -> None:
        """Takes note of a picture's caption; `names` is what the list calls the picture."""
        fitted = self.judge.was_fitted_to(sha256)
        confidence = self.judge.probability(hypothesis.signals, half_of(sha256) if fitted else None)
        if confidence is not None:
            self.each |= dict.fromkeys(names, confidence)
            self.held_out += fitted * len(names)
            for flag in hypothesis.flags:
                self.flagged.setdefault(flag, []).extend(names)


def measure(confidences: Confidences, generated: Captions, references: References) -> dict[str, Any] | None:
    """Captions and what people wrote -> content of `confidence.json`.

    None where no two pictures have two references: then nobody knows what people accept.
    """
    found = acceptance({name: generated[name] for name in confidences.each}, references)
    if found is None:
        return None
    probabilities = np.array([confidences.each[name] for name in found.pictures])
    scores = cider_of_pictures(caption_set({name: generated[name] for name in found.pictures}, references))
    rows = curve(probabilities, found.accepted, scores)
    return {
        "pictures": len(found.pictures),
        "held_out_by_halves": confidences.held_out,
        "event": found.event(),
        **figures(probabilities, found.accepted),
        "curve": rows,
        "flags": {flag: _accepted(found, names) for flag, names in sorted(confidences.flagged.items())},
    }


def _accepted(found: Acceptance, names: Sequence[str]) -> dict[str, Any]:
    """Names of pictures -> how many of their captions are judged by people, and the share that is accepted."""
    outcomes = dict(zip(found.pictures, found.accepted.tolist(), strict=True))
    judged = [outcomes[name] for name in names if name in outcomes]
    return {"captions": len(judged), "accepted": round(sum(judged) / len(judged), DIGITS) if judged else None}


def curve(probabilities: np.ndarray, accepted: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """Confidence, whether accepted, and CIDEr of N captions -> a row for each threshold that some captions reach.

    Returns:
      captions: how many are kept, and "kept": the share; "accepted": share of those; their mean "CIDEr", 0 to
      10, with the document frequencies of all.
    """
    rows = []
    for least in THRESHOLDS:
        kept = probabilities >= least
        if kept.any():
            shares = kept.mean(), accepted[kept].mean(), scores[kept].mean()
            numbers = [int(kept.sum()), *(round(float(share), DIGITS) for share in shares)]
            rows.append(dict(zip(COLUMNS, [least, *numbers], strict=True)))
    return rows


def write(document: Mapping[str, Any], output: str) -> None:
    """Content of `confidence.json` -> that file, and its curve as `confidence_curve.csv`."""
    write_text(posixpath.join(output, CURVE), to_csv(document["curve"]))
    write_json(posixpath.join(output, MEASURED), document)


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `curve` -> CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def render(document: Mapping[str, Any]) -> str:
    """Content of `confidence.json` -> what `captionbeam evaluate` prints."""
    lines = [f"Confidence: {in_words(document)}"]
    if document["held_out_by_halves"]:
        lines.append("   the captioner's own dev pictures, each judged by the half that it is not in")
    lines.append(f"{'at least':>10}{'kept':>9}{'accepted':>10}{'CIDEr':>8}")
    for row in document["curve"]:
        kept, accepted, cider = 100 * row["kept"], 100 * row["accepted"], 100 * row["CIDEr"]
        lines.append(f"{row['min_confidence']:>10.2f}{kept:>8.1f}%{accepted:>9.1f}%{cider:>8.1f}")
    for flag, row in document["flags"].items():
        share = "" if row["accepted"] is None else f", of which people accept {row['accepted']:.1%}"
        lines.append(f"{flag}: {row['captions']} captions{share}")
    return "\n".join(lines)
