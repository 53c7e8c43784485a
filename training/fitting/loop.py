"""The epochs of a training: steps over the training pictures, then captions of the validation pictures."""

from __future__ import annotations

import logging
import math
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from training.data.dataset import DescribedPicture, pictures_of, training_batches, training_references
from training.data.feature_set import FeatureSet
from training.data.splits import DEV, Split
from training.data.tfrecords import checked
from training.decoding.decoder import CaptionDecoder
from training.decoding.settings import decoding_settings
from training.fitting.checkpoints import Checkpoints
from training.fitting.progress_bar import progress_bar
from training.fitting.state import Stage
from training.fitting.trainer import Trainer
from training.models.captioner import Captioner, save_weights
from training.options import DecodingOptions, TrainOptions
from training.own_names import LOG
from training.scoring.scores import cider
from training.text.vocabulary import Vocabulary

log = logging.getLogger("captionbeam")

_LOGGED_EVERY = 20  # steps between two values for TensorBoard


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and is validated by.

    Attributes:
      features, split, vocabulary: pictures, which of them train, and the words to learn.
      pictures: training pictures with captions.
      batch_size: pictures a step, each with all its captions.
      max_words: longer captions are cut.
      seed: of the order and of the views.
    """

    features: FeatureSet
    split: Split
    vocabulary: Vocabulary
    pictures: int
    batch_size: int
    max_words: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.pictures / self.batch_size)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """One epoch of (features float16 [B, ...], ids int32 [B, R, T]); see `training_batches`."""
        return training_batches(
            self.features, self.split, self.vocabulary, self.batch_size, self.max_words, self.seed, epoch
        )

    def references(self) -> Iterator[list[list[int]]]:
        """The captions of each training picture as ids."""
        return training_references(self.features, self.split, self.vocabulary, self.max_words)

    def validation_pictures(self) -> Iterator[tuple[DescribedPicture, np.ndarray]]:
        """Validation pictures that have captions, with their features."""
        wanted = pictures_of(self.features, self.split.selects(DEV))
        return ((picture, feature) for picture, feature in wanted if picture.captions)


@dataclass(frozen=True)
class StagePlan:
    """One stage of a training.

    Attributes:
      stage: which one.
      title: what to call its epochs.
      label: what its steps return, for logs.
      epochs: at most.
      step: (features float16 [B, ...], ids int32 [B, R, T]) of a batch -> loss or reward, a scalar.
    """

    stage: Stage
    title: str
    label: str
    epochs: int
    step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class EpochLoop:
    """Runs stages epoch by epoch from the last checkpoint on, and keeps the weights of the best epoch.

    Args:
      options: with its defaults filled in.
      data: what to train on.
      trainer: whose model learns.
    """

    def __init__(self, options: TrainOptions, data: TrainingData, trainer: Trainer):
        self.options, self.data, self.trainer = options, data, trainer
        self._checkpoints = Checkpoints(options.output, trainer)
        self.state = self._checkpoints.restore()
        captioner = Captioner(
            options.output, trainer.model, data.vocabulary, data.features.encoder, data.max_words, model_id=""
        )
        greedy = decoding_settings(captioner, DecodingOptions(beam_width=1))
        self._decoder = CaptionDecoder(captioner, greedy)  # reads the model's variables as they are
        self._writer = tf.summary.create_file_writer(posixpath.join(options.output, LOG))

    def begin(self, stage: Stage) -> None:
        """Begins another stage with the weights that the model has now."""
        self.state.begin_stage(stage)
        self._checkpoints.save(self.state)

    def run(self, plan: StagePlan) -> None:
        """Runs what is left of a stage, until `patience` epochs in a row gain nothing; none of it if it is over."""
        state = self.state
        while (
            state.stage == plan.stage
            and state.stage_epoch < plan.epochs
            and state.epochs_without_gain < self.options.patience
        ):
            self._run_epoch(plan)

    def _run_epoch(self, plan: StagePlan) -> None:
        state = self.state
        title = f"{plan.title} {state.stage_epoch + 1}/{plan.epochs}"
        mean = self._run_steps(plan, title)
        with self.trainer.averaged_weights():
            score = validation_cider(self._decoder, self.data.validation_pictures())
            better = state.is_better(score)
            if better:
                save_weights(self.trainer.model, self.options.output)
        self._write("dev_cider", score)
        self._writer.flush()
        best = " (best)" if better else ""
        log.info("%s: %s %.3f, CIDEr on dev %.1f%s", title, plan.label, mean, 100 * score, best)
        state.end_epoch(score)
        self._checkpoints.save(state)

    def _run_steps(self, plan: StagePlan, title: str) -> float:
        """What is left of an epoch's steps -> mean of what they return; NaN where none is left."""
        state, data = self.state, self.data
        batches = data.batches(state.epoch).skip(state.step).prefetch(4)
        values = []
        with progress_bar(data.steps, title, "step", state.step) as bar:  # also where a step fails
            for features, ids in checked(batches, data.features.shard_paths()):
                values.append(plan.step(features, ids))
                state.step += 1
                bar.update()
                if state.step % _LOGGED_EVERY == 0:
                    bar.set_postfix({plan.label: f"{values[-1]:.3f}"}, refresh=False)
                    self._write(plan.label, values[-1])
                if state.step % self.options.checkpoint_steps == 0:
                    self._checkpoints.save(state)
        return float(np.mean([float(value) for value in values])) if values else float("nan")

    def _write(self, tag: str, value: float | tf.Tensor) -> None:
        """Adds a value for TensorBoard."""
        with self._writer.as_default(step=self.trainer.steps_done()):
            tf.summary.scalar(tag, value)


def validation_cider(decoder: CaptionDecoder, pictures: Iterable[tuple[DescribedPicture, np.ndarray]]) -> float:
    """CIDEr of the captions of described pictures, 0 to 10; a single picture has nothing to compare with and gives 0.

    Args:
      decoder: makes the captions.
      pictures: each with its feature, float16 [P, C] or [C].
    """
    generated, references = {}, {}
    for picture, hypothesis, *_ in decoder.decode_pictures(pictures):
        generated[picture.sha256] = hypothesis.caption
        references[picture.sha256] = picture.captions
    return cider(generated, references) or 0.0
