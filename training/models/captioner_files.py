"""What lies in a captioner's directory: names of its files, and what can be read of it without TensorFlow."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from training.data.feature_set import EncoderIdentity
from training.documents import Count, Damaged, FileName, Number, Sha256
from training.errors import UserError
from training.models.model_config import ModelConfig
from training.own_names import CONFIG, METRICS
from training.storage import exists, read_document, read_own

if TYPE_CHECKING:
    import numpy as np


CONFIG_SCHEMA_VERSION = 1
MEND = "restore it as training wrote it, or train into another --output"


@dataclass(frozen=True)
class CaptionerConfig:
    """Content of `config.json`.

    Attributes:
      model: of the captioner.
      max_words, min_words: words of a caption, at most and by default at least.
      encoder: whose features it was trained on.
      trained_with: the settings of the training.
    """

    model: ModelConfig
    max_words: Annotated[int, Meta(ge=1, le=10_000)]
    encoder: EncoderIdentity
    trained_with: dict[str, Any]
    min_words: Annotated[int, Meta(ge=1, le=10_000)] = 1  # of a captioner that an earlier captionbeam trained


@dataclass(frozen=True)
class Metrics:
    """Content of `metrics.json`, as far as it is read again.

    Attributes:
      dev_cider: of the best epoch.
      best_epoch, epochs: numbers of epochs.
      sha256: file of the captioner -> hex digest; empty where an earlier captionbeam wrote it.
    """

    dev_cider: Number
    best_epoch: Count
    epochs: Count
    sha256: dict[FileName, Sha256] = field(default_factory=dict)


def read_config(directory: str) -> CaptionerConfig:
    """Captioner directory -> content of its `config.json`.

    Raises:
      UserError: the file is missing, damaged, or of another schema version.
    """
    path = posixpath.join(directory, CONFIG)
    config = read_document(path, CaptionerConfig, MEND, CONFIG_SCHEMA_VERSION)
    if config is None:
        raise UserError(f"--captioner {directory}: no {CONFIG} here; give the directory that `captionbeam train` made")
    if config.model.tail:
        try:
            config.model.seen_shape(config.encoder.feature_shape)
        except ValueError as error:
            raise Damaged(path, f"model.tail: {error}", MEND) from error
    return config


def read_metrics(directory: str) -> Metrics | None:
    """Captioner directory -> content of its `metrics.json`; None before training has ended.

    Raises:
      UserError: the file is damaged.
    """
    path = posixpath.join(directory, METRICS)
    return read_document(path, Metrics, "remove it and run the same `captionbeam train` command again")


def require_as_trained(directory: str, name: str, data_sha256: str) -> None:
    """Raises UserError if a file of a captioner is another one than training ended with, as far as that is known."""
    metrics = read_metrics(directory)
    if metrics is not None and metrics.sha256.get(name, data_sha256) != data_sha256:
        raise Damaged(posixpath.join(directory, name), "changed since training ended", MEND)


def read_arrays(path: str, sha256: str, renew: str) -> dict[str, np.ndarray]:
    """File of arrays in a captioner directory -> its arrays by name.

    Args:
      path: of the file.
      sha256: hex digest of the file as it was written; "" where it is not known.
      renew: how to get it anew, as the end of the message.

    Raises:
      UserError: the file is missing, damaged, or another one.
    """
    try:
        data = read_own(path)
    except OSError as error:
        raise UserError(f"{path}: damaged ({error.strerror or error}); {renew}") from error
    if sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise Damaged(path, "damaged (changed since it was written)", renew)
    from training.array_files import parse_npz

    return parse_npz(data, path, renew)


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
