"""Settings and flags of a captioning in plain English, for the pages."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from beam_pipeline.runtime.text import utf8
from beam_pipeline.words.reference import TRAINING_CAPTIONS
from training.models.flags import COPIED, LOW, REPEATS, UNFINISHED, UNLIKE
from training.text.plurals import counted

_SETTINGS = {
    "model_id": "Captioner",
    "encoder_id": "Encoder",
    "beam_width": "Beam width",
    "min_words": "Minimum words per caption",
    "guidance": "Guidance by the word-presence head",
    "judge": "Judge of captions",
    "alternatives": "Alternative captions per picture",
    "confidence": "Confidence model",
    "min_confidence": "Minimum confidence",
    "source": "Captioned from",
}
# Flag -> its label on a caption, and what one caption, or several captions, with it do.
_FLAGS = {
    UNFINISHED: ("cut at the length limit", "was cut at the length limit", "were cut at the length limit"),
    REPEATS: ("repeats a phrase", "repeats a phrase", "repeat a phrase"),
    COPIED: ("same as a training caption", "is the same as a training caption", "are the same as training captions"),
    UNLIKE: (
        "unlike the training pictures",
        "is of a picture unlike the training pictures",
        "are of pictures unlike the training pictures",
    ),
    LOW: ("low confidence", "has low confidence", "have low confidence"),
}
_EVIDENCE = {
    "said": "the words of the caption",
    "expected": "expected word counts",
    "presence": "calibrated probability of each word",
    "grounding": "how much more likely the picture makes each word",
}


def settings_in_words(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Content of `summary.json` -> (name, value) of each setting behind the results."""
    rows = captioner_in_words(summary["made_with"])
    rows.append(("Evidence for every picture", _listed(summary["evidence"])))
    if summary["evidence_missing"]:
        rows.append(("Missing evidence", _listed(summary["evidence_missing"])))
    if reference := summary["reference"]:
        # Only the name of a directory: whoever gets the page need not know where it is.
        name, number = utf8(posixpath.basename(reference["name"].rstrip("/"))), reference["documents"]
        of_training = name == TRAINING_CAPTIONS
        captions = counted(number, "training caption") if of_training else f"{counted(number, 'caption')} of {name}"
        rows.append(("Words compared with", captions))
    else:
        rows.append(("Words compared with", "nothing, since the captioner carries no word counts"))
    return rows


def captioner_in_words(made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`made_with` of a `summary.json` -> (name, value) of each setting of the captioner."""
    return [
        (_SETTINGS.get(name, name.replace("_", " ").capitalize()), "none" if value is None else utf8(str(value)))
        for name, value in made_with.items()
    ]


def _listed(kinds: list[str]) -> str:
    return "; ".join(_EVIDENCE.get(kind, kind) for kind in kinds)


def flag_labels() -> dict[str, str]:
    """Returns flag -> its label on a single caption."""
    return {flag: label for flag, (label, _, _) in _FLAGS.items()}


def flags_in_words(flags: Mapping[str, int]) -> list[str]:
    """Flag -> number of captions with it -> a sentence, without a full stop, for each flag that occurs."""
    sentences = []
    for flag, number in flags.items():
        _, one, several = _FLAGS.get(flag, ("", f"has the flag {flag}", f"have the flag {flag}"))
        if number:
            sentences.append(f"{counted(number, 'caption')} {one if number == 1 else several}")
    return sentences
