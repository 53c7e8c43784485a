"""Where a training stands: what every checkpoint holds beside the weights, and `progress.json` tells without them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from training.documents import Count, Damaged, Number, parse_json
from training.own_names import CHECKPOINTS, PROGRESS
from training.storage import exists, read_document, read_own, write_document

_NEWEST = re.compile(rb'^model_checkpoint_path: "(ckpt-[0-9]+)"$', re.MULTILINE)
BEGIN_ANEW = "remove its folder, and training begins anew"


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

    epoch: Count = 0
    step: Count = 0
    best_epoch: Count = 0
    epochs_without_gain: Count = 0
    stage: Stage = Stage.CROSS_ENTROPY
    stage_began: Count = 0
    best: Number = -1.0
    history: list[Number] = field(default_factory=list)

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
        """Fields as JSON has them; `state_of_note` reads them again."""
        return asdict(self)

    def save(self, output: str) -> None:
        """Writes `progress.json` into a captioner directory."""
        write_document(posixpath.join(output, PROGRESS), self.to_json())


def state_of_note(note: bytes, checkpoint: str) -> TrainingState:
    """Note in a checkpoint -> the TrainingState that it was saved with.

    Raises:
      UserError: the note is damaged.
    """
    return parse_json(note, TrainingState, checkpoint, BEGIN_ANEW)


def read_state(output: str) -> TrainingState | None:
    """Captioner directory -> where its training stands at the last checkpoint; None before the first one.

    A directory without `progress.json`, of an earlier captionbeam, takes TensorFlow to read.
    """
    path = posixpath.join(output, PROGRESS)
    state = read_document(path, TrainingState, "remove it; the next run of the same train command writes it again")
    if state is not None:
        return state
    newest = newest_checkpoint(output)
    if newest is None:
        return None
    import tensorflow as tf

    try:
        note = tf.train.load_checkpoint(newest).get_tensor("note/.ATTRIBUTES/VARIABLE_VALUE")
    except (tf.errors.NotFoundError, ValueError, RuntimeError):  # the training has just replaced it
        return None
    return state_of_note(note, newest)


def newest_checkpoint(output: str) -> str | None:
    """Captioner directory -> path of its newest whole checkpoint, without ending; None before the first one.

    TensorFlow names it in a file, and would itself follow any path that stands there.

    Raises:
      UserError: that file is damaged, or is missing though there was a checkpoint.
    """
    folder = posixpath.join(output, CHECKPOINTS)
    path = posixpath.join(folder, CHECKPOINTS)
    try:
        match = _NEWEST.search(read_own(path))
    except (FileNotFoundError, NotADirectoryError):
        if exists(folder) and exists(posixpath.join(output, PROGRESS)):
            raise Damaged(path, "is missing", BEGIN_ANEW) from None
        return None
    if match is None:
        raise Damaged(path, "damaged (names no checkpoint beside it)", BEGIN_ANEW)
    return posixpath.join(folder, match[1].decode())
