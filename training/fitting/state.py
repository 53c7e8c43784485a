"""Where a training stands: what every checkpoint holds beside the weights, and `progress.json` tells without them."""

from __future__ import annotations

import json
import posixpath
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from training.models.captioner_files import CHECKPOINTS, PROGRESS
from training.storage import exists, read_json, write_json


class Stage(IntEnum):
    """Stages of a training, in their order; checkpoints hold the number."""

    CROSS_ENTROPY = 0
    SELF_CRITICAL = 1


@dataclass
class TrainingState:
    """Epochs count on over both stages.

    Attributes:
      epoch: finished epochs.
      step: finished steps of the next epoch.
      stage: the current one.
      stage_began: finished epochs when it began.
      best: largest CIDEr on the validation pictures so far, 0 to 10; -1 before the first epoch ends.
      best_epoch: number of that epoch, from 1; 0 before.
      epochs_without_gain: finished since then in this stage.
      history: CIDEr of every finished epoch.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    epochs_without_gain: int = 0
    stage: Stage = Stage.CROSS_ENTROPY
    stage_began: int = 0
    best: float = -1.0
    history: list[float] = field(default_factory=list)

    @property
    def stage_epoch(self) -> int:
        """Finished epochs of the current stage."""
        return self.epoch - self.stage_began

    def is_better(self, cider: float) -> bool:
        """Whether to keep this epoch's weights: it scored more than the best one, or no epoch has scored yet."""
        return cider > self.best or cider == self.best == 0.0

    def begin_stage(self, stage: Stage) -> None:
        """Begins another stage, with patience anew."""
        self.stage, self.stage_began, self.epochs_without_gain = stage, self.epoch, 0

    def end_epoch(self, cider: float) -> None:
        """Counts an epoch and its CIDEr on the validation pictures."""
        better = self.is_better(cider)
        self.history.append(cider)
        self.epoch, self.step = self.epoch + 1, 0
        if better:
            self.best, self.best_epoch, self.epochs_without_gain = cider, self.epoch, 0
        else:
            self.epochs_without_gain += 1

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON has them; `from_json` is the inverse."""
        return asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> TrainingState:
        """Parsed JSON -> TrainingState."""
        return TrainingState(**fields | {"stage": Stage(fields["stage"])})

    def save(self, output: str) -> None:
        """Writes `progress.json` into a captioner directory."""
        write_json(posixpath.join(output, PROGRESS), self.to_json())


def read_state(output: str) -> TrainingState | None:
    """Captioner directory -> where its training stands at the last checkpoint; None before the first one.

    A directory without `progress.json`, of an earlier captionbeam, takes TensorFlow to read.
    """
    path = posixpath.join(output, PROGRESS)
    if exists(path):
        return TrainingState.from_json(read_json(path))
    if not exists(posixpath.join(output, CHECKPOINTS)):
        return None
    import tensorflow as tf

    newest = tf.train.latest_checkpoint(posixpath.join(output, CHECKPOINTS))
    if newest is None:
        return None
    try:
        note = tf.train.load_checkpoint(newest).get_tensor("note/.ATTRIBUTES/VARIABLE_VALUE")
    except (tf.errors.NotFoundError, ValueError, RuntimeError):  # the training has just replaced it
        return None
    return TrainingState.from_json(json.loads(note))
