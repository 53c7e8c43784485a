"""The settings and oddities of a captioning, as a page says them to people."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from beam_pipeline.runtime.text import utf8

_SETTINGS = {
    "model_id": "Captioner",
    "encoder_id": "Encoder",
    "beam_width": "Beam width: hypotheses kept while decoding",
    "min_words": "Words of a caption at least",
    "guidance": "Guidance by the word-presence head",
    "alternatives": "Further captions kept of each picture",
    "source": "Captioned from",
}
_FLAGS = {
    "unfinished": ("caption was cut at the length limit", "captions were cut at the length limit"),
    "repeats": ("caption repeats a phrase", "captions repeat a phrase"),
}
_EVIDENCE = {
    "said": "what the captions say",
    "expected": "expected counts by the decoder",
    "presence": "calibrated probability of each word in each picture",
    "grounding": "how much more likely the picture makes a word",
}


def settings_in_words(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Content of `summary.json` -> (what, value) of everything behind the results that says how they were made."""
    rows = captioner_in_words(summary["made_with"])
    rows.append(("Known of every picture", _listed(summary["evidence"])))
    if summary["evidence_missing"]:
        rows.append(("Not known", _listed(summary["evidence_missing"])))
    if reference := summary["reference"]:
        # Of a captions directory its own name: a page that is shown around need not tell where somebody's files lie.
        name = utf8(posixpath.basename(reference["name"].rstrip("/")))
        rows.append(("Words are compared with", f"{name}: {reference['documents']:,} texts"))
    else:
        rows.append(("Words are compared with", "nothing: the captioner does not carry the words it was trained on"))
    return rows


def captioner_in_words(made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What captions were made with -> (what, value)."""
    return [(_SETTINGS.get(name, name.replace("_", " ")), utf8(str(value))) for name, value in made_with.items()]


def _listed(kinds: list[str]) -> str:
    return "; ".join(_EVIDENCE.get(kind, kind) for kind in kinds)


def flags_in_words(flags: Mapping[str, int]) -> list[str]:
    """Flag -> number of captions that have it, as sentences without a full stop."""
    return [
        f"{number:,} {_FLAGS.get(flag, (f'caption: {flag}', f'captions: {flag}'))[number != 1]}"
        for flag, number in flags.items()
        if number
    ]
