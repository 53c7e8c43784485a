"""Checkpoints of a training, so that one that was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import posixpath

import tensorflow as tf

from training.documents import Damaged
from training.fitting.state import BEGIN_ANEW, TrainingState, newest_checkpoint, state_of_note
from training.fitting.trainer import Trainer
from training.own_names import CHECKPOINTS, PROGRESS
from training.storage import remove

log = logging.getLogger("captionbeam")


class Checkpoints:
    """Saves and restores weights, averages, optimizer and TrainingState; the newest checkpoint is kept.

    Args:
      output: captioner directory.
      trainer: whose variables are saved and restored.
    """

    def __init__(self, output: str, trainer: Trainer):
        self._output = output
        self._state = tf.Variable("", dtype=tf.string)
        arrays = [*(variable.value for variable in trainer.variables), *trainer.averages]
        arrays += [variable.value for optimizer, _ in trainer.groups for variable in optimizer.variables]
        named = {f"array{number}": array for number, array in enumerate(arrays)}
        self._checkpoint = tf.train.Checkpoint(note=self._state, **named)
        self._folder = posixpath.join(output, CHECKPOINTS)
        for name in tf.io.gfile.listdir(self._folder) if tf.io.gfile.exists(self._folder) else ():
            if name.rstrip("/").endswith("_temp"):  # of a run killed in the midst of one
                tf.io.gfile.rmtree(posixpath.join(self._folder, name))

    def restore(self) -> TrainingState:
        """Gives the trainer's variables the values of the last checkpoint; a new state where there is none.

        Raises:
          UserError: the checkpoint is damaged.
        """
        newest = newest_checkpoint(self._output)
        if newest is None:
            remove(posixpath.join(self._output, PROGRESS))  # of a training whose checkpoints were removed
            return TrainingState()
        try:
            self._checkpoint.restore(newest).assert_consumed()
        except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
            said = str(error).partition("\n")[0].rpartition("}} ")[2].partition(" [Op:")[0]
            raise Damaged(newest, f"damaged ({said})", BEGIN_ANEW) from error
        state = state_of_note(self._state.numpy(), newest)
        state.save(self._output)  # where a kill came between the checkpoint and this file
        log.info("going on from epoch %d, step %d", state.epoch + 1, state.step)
        return state

    def save(self, state: TrainingState) -> None:
        """Writes a checkpoint, then `progress.json`; the checkpoint before is kept until the new one is whole."""
        self._state.assign(json.dumps(state.to_json()))
        newest = posixpath.basename(self._checkpoint.save(posixpath.join(self._folder, "ckpt")))
        for name in tf.io.gfile.listdir(self._folder):  # not by TensorFlow, which removes whatever its file names
            if name.startswith("ckpt-") and not name.startswith(f"{newest}."):
                tf.io.gfile.remove(posixpath.join(self._folder, name))
        state.save(self._output)
