"""The confidence curve: for each limit on confidence, the share of captions that is kept and how good those are."""

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
from training.own_names import CONFIDENCE_CURVE, MEASURED_CONFIDENCE
from training.scoring.acceptance import Acceptance, acceptance
from training.scoring.scores import Captions, References, caption_set, cider_of_pictures
from training.storage import write_json, write_text
from training.text.plurals import counted

COLUMNS = ("min_confidence", "captions", "kept", "accepted", "CIDEr")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))


@dataclass
class Confidences:
    """Confidence of scored captions, collected while they are made.

    Attributes:
      source: the captioner's.
      each: listed name -> confidence.
      held_out: number of names rated by the regression of the half of the validation pictures that they are not in.
      flagged: flag -> listed names whose captions have it.
    """

    source: Confidence
    each: dict[str, float] = field(default_factory=dict)
    held_out: int = 0
    flagged: dict[str, list[str]] = field(default_factory=dict)

    def add(self, names: Sequence[str], sha256: str, hypothesis: Hypothesis) -> None:
        """Adds the caption of a picture.

        Args:
          names: of the picture in the list.
          sha256: of the picture.
          hypothesis: its caption.
        """
        fitted = self.source.was_fitted_to(sha256)
        confidence = self.source.probability(hypothesis.signals, half_of(sha256) if fitted else None)
        if confidence is not None:
            self.each |= dict.fromkeys(names, confidence)
            self.held_out += fitted * len(names)
            for flag in hypothesis.flags:
                self.flagged.setdefault(flag, []).extend(names)


def measure(confidences: Confidences, generated: Captions, references: References) -> dict[str, Any] | None:
    """Content of `confidence.json`; None if fewer than two pictures have two references, which acceptance needs.

    Args:
      confidences: of the captions.
      generated: one caption per picture.
      references: captions by people.
    """
    outcome = acceptance({name: generated[name] for name in confidences.each}, references)
    if outcome is None:
        return None
    probabilities = np.array([confidences.each[name] for name in outcome.pictures])
    scores = cider_of_pictures(caption_set({name: generated[name] for name in outcome.pictures}, references))
    rows = curve(probabilities, outcome.accepted, scores)
    return {
        "pictures": len(outcome.pictures),
        "held_out_by_halves": confidences.held_out,
        "event": outcome.event(),
        **figures(probabilities, outcome.accepted),
        "curve": rows,
        "flags": {flag: _accepted(outcome, names) for flag, names in sorted(confidences.flagged.items())},
    }


def _accepted(outcome: Acceptance, names: Sequence[str]) -> dict[str, Any]:
    """Names of pictures -> for how many acceptance is known, and the share of these that is accepted."""
    accepted = dict(zip(outcome.pictures, outcome.accepted.tolist(), strict=True))
    known = [accepted[name] for name in names if name in accepted]
    return {"captions": len(known), "accepted": round(sum(known) / len(known), DIGITS) if known else None}


def curve(probabilities: np.ndarray, accepted: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the confidence curve, one for each threshold that some captions reach.

    Args:
      probabilities: confidence of N captions, float64 [N].
      accepted: whether people accept them, bool [N].
      scores: their CIDEr, float64 [N].

    Returns:
      for each row "min_confidence"; "captions" and "kept": number and share of the captions that reach it; "accepted":
      share of these; "CIDEr": their mean, 0 to 10, with the document frequencies of all.
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
    """Writes `confidence.json`, and its curve as `confidence_curve.csv`, into a directory."""
    write_text(posixpath.join(output, CONFIDENCE_CURVE), to_csv(document["curve"]))
    write_json(posixpath.join(output, MEASURED_CONFIDENCE), document)


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `curve` -> text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def render(document: Mapping[str, Any]) -> str:
    """Content of `confidence.json` -> the text that `captionbeam evaluate` prints."""
    lines = [f"Confidence: {in_words(document)}"]
    if document["held_out_by_halves"]:
        lines.append("   the captioner's own validation pictures, each rated by the half that it is not in")
    lines.append(f"{'at least':>10}{'kept':>9}{'accepted':>10}{'CIDEr':>8}")
    for row in document["curve"]:
        kept, accepted, cider = 100 * row["kept"], 100 * row["accepted"], 100 * row["CIDEr"]
        lines.append(f"{row['min_confidence']:>10.2f}{kept:>8.1f}%{accepted:>9.1f}%{cider:>8.1f}")
    for flag, row in document["flags"].items():
        share = "" if row["accepted"] is None else f", of which people accept {row['accepted']:.1%}"
        lines.append(f"{flag}: {counted(row['captions'], 'caption')}{share}")
    return "\n".join(lines)
