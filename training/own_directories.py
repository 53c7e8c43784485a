"""What kind of directory of captionbeam it is, by the names in it: no command writes into one of another kind."""

from __future__ import annotations

import os
from collections.abc import Collection

from training.errors import UserError
from training.files import is_local
from training.own_names import (
    CAPTIONER,
    CAPTIONS,
    CONFIG,
    DEMO,
    DEMO_SETTINGS,
    FEATURES,
    MANIFEST,
    PROGRESS,
    SCORE_DOCUMENT,
    SCORES,
    SHARD_FILE,
    SUMMARY,
    WEIGHTS,
    belongs,
)

WITH_ARTICLE = {
    FEATURES: "a feature set",
    CAPTIONS: "captions",
    CAPTIONER: "a captioner",
    SCORES: "scores",
    DEMO: "a demo",
}
# Each of these names tells the kind; the later ones where the earlier are missing.
_TELLING = {
    SUMMARY: CAPTIONS,
    MANIFEST: FEATURES,
    CONFIG: CAPTIONER,
    SCORE_DOCUMENT: SCORES,
    DEMO_SETTINGS: DEMO,
    WEIGHTS: CAPTIONER,
    PROGRESS: CAPTIONER,
}
_OF_SHARDS = {"features": FEATURES, "captions": CAPTIONS}


def kind_by_names(names: Collection[str]) -> str | None:
    """Names of all that is in a directory -> a key of `WITH_ARTICLE`; None where they tell none."""
    for name, kind in _TELLING.items():
        if name in names:
            return kind
    found = {match["kind"] for name in names if (match := SHARD_FILE.fullmatch(name))}
    return next((kind for files, kind in _OF_SHARDS.items() if files in found), None)


def require_output(directory: str, kind: str) -> None:
    """Refuses a local output directory that holds something else than what the command makes; others are let through.

    Scores and a demo may also go where files are that captionbeam did not make.

    Args:
      kind: a key of `WITH_ARTICLE`.

    Raises:
      UserError: names what was found.
    """
    if not is_local(directory):
        return
    require_folder(directory)
    try:
        names = sorted(os.listdir(directory))
    except OSError:  # not there yet, or whoever writes says why it cannot be
        return
    found = kind_by_names(names)
    if found == kind:
        return
    what = WITH_ARTICLE[found] if found else _foreign(names, kind)
    if what:
        raise UserError(f"--output {directory}: holds {what}, not {WITH_ARTICLE[kind]}; choose another --output")


def require_folder(directory: str) -> None:
    """Raises UserError if a local output directory is something else, such as a file, or a link to nothing."""
    if os.path.lexists(directory) and not os.path.isdir(directory):
        what = "not a folder" if os.path.exists(directory) else "a link to nothing"
        raise UserError(f"--output {directory}: is {what}; choose another --output")


def _foreign(names: Collection[str], kind: str) -> str:
    """What somebody else put into a directory, in words; "" for nothing, or where it does not matter."""
    if kind in (SCORES, DEMO):
        return ""
    foreign = [name for name in names if not (name.startswith(".") or belongs(name, kind))]
    return f"files that captionbeam did not make, such as {foreign[0]}" if foreign else ""
