"""What lies in a captioner's directory: names of its files, and what can be read of it without TensorFlow."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterator
from typing import Any

from training.errors import UserError
from training.storage import exists, read_json

WEIGHTS = "captioner.weights.h5"
CONFIG = "config.json"
METRICS = "metrics.json"
PRESENCE = "presence.npz"
PRESENCE_WORDS = "presence.json"
PRESENCE_TAIL = "presence_tail.json"
CONFIDENCE = "confidence.json"
CONFIDENCE_ARRAYS = "confidence.npz"
PROGRESS = "progress.json"
CHECKPOINTS = "checkpoint"  # a folder
LOG = "log"  # TensorBoard's, a folder

CONFIG_SCHEMA_VERSION = 1
_PARTS = ("model", "max_words", "encoder", "trained_with")


def read_config(directory: str) -> dict[str, Any]:
    """Captioner directory -> content of its `config.json`.

    Raises:
      UserError: the file is missing, lacks a part, or is of another schema version.
    """
    path = posixpath.join(directory, CONFIG)
    if not exists(path):
        raise UserError(f"--captioner {directory}: no {CONFIG} here; give the directory that `captionbeam train` made")
    try:
        document = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); train the captioner again") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: not the settings of a captioner; train the captioner again")
    version = document.get("schema_version")
    if version != CONFIG_SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {version}, not {CONFIG_SCHEMA_VERSION}; train again")
    missing = [name for name in _PARTS if name not in document]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; train the captioner again")
    return document


@contextlib.contextmanager
def damage_reported(path: str, renew: str) -> Iterator[None]:
    """Turns the errors of reading a file whose content is not as it was written into one that names the file.

    Args:
      path: of the file that is read meanwhile.
      renew: how to get it anew, as the end of the message.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError) as error:
        why = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: damaged ({why}); {renew}") from error


def member_paths(path: str) -> list[str]:
    """Value of --captioner or --ensemble -> captioner directories; a path that exists is one, even with a comma."""
    return [path] if "," not in path or exists(path) else path.split(",")
