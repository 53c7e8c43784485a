"""Checkpoints of a training, so that one that was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import logging
import posixpath

import tensorflow as tf

from training.documents import Damaged
from training.fitting.state import BEGIN_ANEW, TrainingState, state_of_note
from training.fitting.trainer import Trainer
from training.own_names import CHECKPOINTS

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
        arrays += [variable.value for variable in trainer.optimizer.variables]
        named = {f"array{number}": array for number, array in enumerate(arrays)}
        self._checkpoint = tf.train.Checkpoint(note=self._state, **named)
        folder = posixpath.join(output, CHECKPOINTS)
        for name in tf.io.gfile.listdir(folder) if tf.io.gfile.exists(folder) else ():
            if name.rstrip("/").endswith("_temp"):  # of a run killed in the midst of one
                tf.io.gfile.rmtree(posixpath.join(folder, name))
        self._manager = tf.train.CheckpointManager(self._checkpoint, folder, max_to_keep=1)

    def restore(self) -> TrainingState:
        """Gives the trainer's variables the values of the last checkpoint; a new state where there is none.

        Raises:
          UserError: the checkpoint is damaged.
        """
        newest = self._manager.latest_checkpoint
        if not newest:
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
        self._manager.save()
        state.save(self._output)
