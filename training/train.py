"""Fits a captioner to a feature set. Reads from top to bottom: settings, data, model, loop.

Everything random comes from the seed, the epoch and the step, so a training that was killed goes on, from its last
checkpoint, as if nothing had happened.
"""

from __future__ import annotations

import json
import logging
import math
import posixpath
import sys
import time
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from training import captioner as store
from training.captioner import Captioner
from training.dataset import Scan, checked, pictures_of, scan, training_batches
from training.decoding import CaptionDecoder
from training.errors import UserError
from training.evaluate import caption_pictures
from training.feature_records import FEATURE_SHAPES
from training.feature_set import RANDOM_STATISTICS, FeatureSet, load_feature_set
from training.files import read_json, write_json
from training.glove import load_glove, project
from training.layers import Noise
from training.models import WORD_SPREAD, ModelConfig, build_model
from training.scores import cider
from training.splits import DEV, TRAIN, Split, make_split
from training.vocabulary import PAD, SPECIALS, START, VOCABULARY, Vocabulary, build_vocabulary

log = logging.getLogger("captionbeam")

EPOCHS = {"attention": 8, "merge": 7}
# The merge model's LSTM never sees the picture and its image vector is one for all words: less has to be dropped.
DROPOUTS: dict[str, dict[str, Any]] = {
    "attention": {"feature_dropout": 0.3, "word_dropout": 0.3, "output_dropout": 0.5},
    "merge": {"feature_dropout": 0.2, "word_dropout": 0.2, "output_dropout": 0.4},
}
BATCH_SIZES = {"attention": 32, "merge": 16}
STANDARDIZED_BY = 256  # training pictures whose channels are measured
AVERAGING = 0.998  # of the weights that are kept: about the last 500 steps (Polyak and Juditsky 1992)


@dataclass(frozen=True)
class TrainOptions:
    """Settings of `captionbeam train`.

    Attributes:
      features: feature set with captions.
      output: directory of the captioner.
      model: "attention" or "merge".
      glove: GloVe text file, or None for random word embeddings.
      train_list, dev_list: files of image names; None for a split by content.
      epochs: at most; None for the model's own number.
      seed: of everything random.
      batch_size: pictures a step, each with all its captions; None for the model's own number.
      embedding_size, hidden_size: of the model.
      min_count: how often a word must stand in the training captions to be learnt.
      max_words: longer captions are cut.
      learning_rate: peak, after the warm-up and before the cosine decay.
      weight_decay: of AdamW.
      label_smoothing: share of the target spread over the vocabulary.
      patience: epochs without a better CIDEr on the dev pictures before training stops.
      checkpoint_steps: steps between checkpoints.
    """

    features: str
    output: str
    model: str = "attention"
    glove: str | None = None
    train_list: str | None = None
    dev_list: str | None = None
    epochs: int | None = None
    seed: int = 0
    batch_size: int | None = None
    embedding_size: int = 128
    hidden_size: int = 512
    min_count: int = 5
    max_words: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    patience: int = 4
    checkpoint_steps: int = 100


def train(options: TrainOptions) -> dict[str, Any]:
    """Trains, or goes on where an earlier call was stopped; returns the content of `metrics.json`.

    Raises:
      UserError: nothing to train on, or the output holds a training with other settings.
      JobFailed: a shard is damaged.
    """
    features = load_feature_set(options.features)
    epochs = options.epochs or EPOCHS[options.model]
    batch_size = options.batch_size or BATCH_SIZES[options.model]
    finished = _look_at_output(options, features, epochs)
    if finished is not None:
        print(f"{options.output}: training is finished already; CIDEr on dev {100 * finished['dev_cider']:.1f}")
        return finished
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()

    split = make_split(options.train_list, options.dev_list, features.records)
    found = scan(features, split)
    vocabulary = build_vocabulary(found.word_counts, options.min_count)
    _tell(found, vocabulary, features, options)
    model = _make_model(options, features, split, vocabulary, found)
    store.write_config(
        options.output, model.config, features.encoder, options.max_words, _settings(options, features, epochs)
    )
    vocabulary.save(posixpath.join(options.output, VOCABULARY))
    _copy_encoder_statistics(options)

    steps = math.ceil(found.train_pictures / batch_size)
    trainer = Trainer(model, FEATURE_SHAPES[features.encoder.feature_kind], options, steps * epochs)
    progress = Progress(options.output, trainer)
    view = Captioner(options.output, model, vocabulary, features.encoder, options.max_words, model_id="")
    judge = CaptionDecoder(view, beam_width=1)  # reads the model's variables as they are: one graph serves every epoch
    writer = tf.summary.create_file_writer(posixpath.join(options.output, "log"))
    began = time.monotonic()
    while progress.epoch < epochs and progress.epochs_without_gain < options.patience:
        batches = training_batches(
            features, split, vocabulary, batch_size, options.max_words, options.seed, progress.epoch
        )
        bar = tqdm(
            total=steps,
            initial=progress.step,
            desc=f"epoch {progress.epoch + 1}/{epochs}",
            unit="step",
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        losses = []
        for batch in checked(batches.skip(progress.step).prefetch(4), *features.shard_paths()):
            losses.append(trainer.step(*batch))
            progress.step += 1
            bar.update()
            if progress.step % 20 == 0:
                bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
                with writer.as_default(step=trainer.steps_done()):
                    tf.summary.scalar("loss", losses[-1])
            if progress.step % options.checkpoint_steps == 0:
                progress.save()
        bar.close()
        with trainer.averaged_weights():
            value = _dev_cider(judge, features, split)
            if progress.is_better(value):
                store.save_weights(model, options.output)
        with writer.as_default(step=trainer.steps_done()):
            tf.summary.scalar("dev_cider", value)
        writer.flush()
        loss = float(np.mean([float(loss) for loss in losses])) if losses else float("nan")
        log.info(
            "epoch %d: loss %.3f, CIDEr on dev %.1f%s",
            progress.epoch + 1,
            loss,
            100 * value,
            " (best)" if progress.is_better(value) else "",
        )
        progress.end_epoch(value)

    metrics = {
        "dev_cider": progress.best,
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "history": progress.history,
        "train_pictures": found.train_pictures,
        "train_captions": found.train_captions,
        "dev_pictures": found.dev_pictures,
        "vocabulary": len(vocabulary),
        "parameters": int(sum(np.prod(variable.shape) for variable in model.trainable_variables)),
    }
    write_json(posixpath.join(options.output, store.METRICS), metrics)
    print(
        f"{options.output}: {progress.epoch} epochs in {(time.monotonic() - began) / 60:.1f} min, "
        f"best CIDEr on dev {100 * progress.best:.1f} (epoch {progress.best_epoch})"
    )
    return metrics


def _settings(options: TrainOptions, features: FeatureSet, epochs: int) -> dict[str, Any]:
    """Everything that decides the result; what only says where or how often is left out."""
    chosen = asdict(options) | {"epochs": epochs}
    for name in ("output", "features", "checkpoint_steps"):
        del chosen[name]
    return chosen | {"feature_shards": [shard.sha256 for shard in features.shards if shard.records]}


def _look_at_output(options: TrainOptions, features: FeatureSet, epochs: int) -> dict[str, Any] | None:
    """Metrics of a finished training with these settings, or None where there is something to do.

    Raises:
      UserError: the output holds another training.
    """
    tf.io.gfile.makedirs(options.output)
    if not tf.io.gfile.exists(posixpath.join(options.output, store.CONFIG)):
        return None
    there = store.read_config(options.output)["trained_with"]
    for name, value in _settings(options, features, epochs).items():
        if there.get(name) != value:
            shown = (
                "other feature shards" if name == "feature_shards" else f"--{name.replace('_', '-')} {there.get(name)}"
            )
            raise UserError(
                f"--output {options.output}: holds a captioner trained with {shown}; choose another --output"
            )
    metrics = posixpath.join(options.output, store.METRICS)
    if not tf.io.gfile.exists(metrics):
        return None
    return read_json(metrics)


def _tell(found: Scan, vocabulary: Vocabulary, features: FeatureSet, options: TrainOptions) -> None:
    log.info(
        "%d pictures with %d captions train, %d pictures judge",
        found.train_pictures,
        found.train_captions,
        found.dev_pictures,
    )
    if found.in_both:
        log.info("%d pictures are in both lists, by name or by content: they judge and do not train", found.in_both)
    if found.without_caption:
        log.info("%d pictures have no caption and are left out", found.without_caption)
    if found.outside:
        log.info("%d pictures are in neither list and are left out", found.outside)
    share = vocabulary.unknown_share(found.word_counts)
    log.info(
        "vocabulary: %d words seen %d times or more; %.1f %% of the words read are outside",
        len(vocabulary) - SPECIALS,
        options.min_count,
        100 * share,
    )


def _make_model(options: TrainOptions, features: FeatureSet, split: Split, vocabulary: Vocabulary, found: Scan):
    config = ModelConfig(
        model=options.model,
        vocabulary_size=len(vocabulary),
        embedding_size=options.embedding_size,
        hidden_size=options.hidden_size,
        **DROPOUTS[options.model],
        # Random weights give channels whose common part is far larger than what tells pictures apart.
        standardize=features.encoder.weights == "random",
    )
    model = build_model(config, FEATURE_SHAPES[features.encoder.feature_kind])
    if model.standardize:
        training = pictures_of(features, lambda sha256, uris: split.of(sha256, uris) == TRAIN)
        model.standardize.fit(np.stack([feature for _, feature in islice(training, STANDARDIZED_BY)]))
    if options.glove:
        vectors, coverage = load_glove(options.glove, vocabulary, found.word_counts, options.seed)
        vectors = project(vectors, options.embedding_size, options.seed)
        # GloVe's directions, at the spread that the other start values have.
        model.words.embeddings.assign(vectors * (WORD_SPREAD / vectors.std()))
        log.info("%s; %d lines whose token holds a space are left out", coverage, coverage.spaced)
    return model


def _copy_encoder_statistics(options: TrainOptions) -> None:
    """Random encoder weights are made from statistics that lie with the features; new pictures need them too."""
    source = posixpath.join(options.features, RANDOM_STATISTICS)
    if tf.io.gfile.exists(source):
        tf.io.gfile.copy(source, posixpath.join(options.output, RANDOM_STATISTICS), overwrite=True)


def _dev_cider(decoder: CaptionDecoder, features: FeatureSet, split: Split) -> float:
    """CIDEr of greedy captions of the dev pictures, 0 to 10; one picture alone is compared by nothing and gives 0."""
    wanted = pictures_of(features, lambda sha256, uris: split.of(sha256, uris) == DEV)
    generated, references = {}, {}
    for picture, hypothesis in caption_pictures(decoder, (pair for pair in wanted if pair[0].captions)):
        generated[picture.sha256] = hypothesis.caption
        references[picture.sha256] = picture.captions
    return cider(generated, references) or 0.0


class Trainer:
    """One step of AdamW (Loshchilov and Hutter 2019) and a running average of the weights."""

    def __init__(self, model, feature_shape: tuple[int, ...], options: TrainOptions, total_steps: int):
        self.model = model
        self.options = options
        self.variables = model.trainable_variables
        warm_up = min(200, total_steps // 10)
        schedule = keras.optimizers.schedules.CosineDecay(
            options.learning_rate / 100,
            total_steps - warm_up,
            warmup_target=options.learning_rate,
            warmup_steps=warm_up,
        )
        self.optimizer = keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay, global_clipnorm=5.0)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.variables)
        self.averages = [tf.Variable(variable.value, trainable=False) for variable in self.variables]
        shape = tf.TensorSpec([None, None, None], tf.int32)
        feature = tf.TensorSpec([None, *feature_shape], tf.float16)
        self._step = tf.function(self._train_step, input_signature=[feature, shape], autograph=False)

    def step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Features float16 [B, ...] and ids int32 [B, R, T] of one batch -> loss, a scalar."""
        return self._step(features, ids)

    def steps_done(self) -> int:
        return int(self.optimizer.iterations)

    def averaged_weights(self):
        """Context in which the model has the averaged weights."""
        return _Swapped(self.variables, self.averages)

    def _train_step(self, features: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        done = tf.cast(self.optimizer.iterations.value, tf.int32)
        noise = Noise(tf.stack([tf.constant(self.options.seed, tf.int32), done]))
        with tf.GradientTape() as tape:
            loss = caption_loss(
                self.model, features, ids, self.options.max_words + 1, self.options.label_smoothing, noise
            )
        gradients = tape.gradient(loss, [variable.value for variable in self.variables])
        self.optimizer.apply(gradients, self.variables)
        # Few steps in, the average must not remember the untrained weights.
        keep = tf.minimum(AVERAGING, (1.0 + tf.cast(done, tf.float32)) / (10.0 + tf.cast(done, tf.float32)))
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(keep * average + (1.0 - keep) * variable.value)
        return loss


def caption_loss(
    model, features: tf.Tensor, ids: tf.Tensor, steps: int, label_smoothing: float, noise: Noise
) -> tf.Tensor:
    """Mean cross-entropy of the next word, over all words of all captions of the batch.

    Args:
      features: float16 [B, ...].
      ids: int32 [B, R, T <= steps], each caption's words and end mark, filled up with PAD; an empty row is no caption.
      steps: T that the model is unrolled to.
      label_smoothing: Szegedy et al. 2016.
    """
    missing = steps - tf.shape(ids)[2]
    targets = tf.ensure_shape(tf.pad(ids, [[0, 0], [0, 0], [0, missing]]), [None, None, steps])
    said = tf.concat([tf.fill(tf.shape(targets[..., :1]), START), targets[..., :-1]], axis=2)
    real = targets != PAD  # (B, R, T)
    lengths = tf.reduce_sum(tf.cast(real, tf.int32), axis=2)
    memory = model.encode(tf.cast(features, tf.float32), noise)
    drawn_from = model.teach(memory, said, lengths, noise)  # (B, R*T, H)
    # Only real words meet the vocabulary, which is the largest product of all.
    drawn_from = tf.boolean_mask(drawn_from, tf.reshape(real, [tf.shape(real)[0], -1]))  # (words, H)
    log_probabilities = tf.nn.log_softmax(model.logits(drawn_from))  # (words, V)
    right = tf.gather(log_probabilities, tf.boolean_mask(targets, real), batch_dims=1)
    loss = (1.0 - label_smoothing) * right + label_smoothing * tf.reduce_mean(log_probabilities, axis=1)
    return -tf.reduce_mean(loss)


class _Swapped:
    """Exchanges the values of two lists of variables, and back on leaving."""

    def __init__(self, ours, others):
        self.ours, self.others = ours, others

    def _swap(self) -> None:
        for mine, other in zip(self.ours, self.others, strict=True):
            value = tf.identity(mine.value)
            mine.assign(other.value() if callable(other.value) else other)
            other.assign(value)

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_) -> None:
        self._swap()


class Progress:
    """Where the training stands, and its checkpoints: weights, averages, optimizer, epoch, step and the best so far."""

    def __init__(self, output: str, trainer: Trainer):
        self.epoch = self.step = self.best_epoch = self.epochs_without_gain = 0
        self.best = -1.0
        self.history: list[float] = []
        self._note = tf.Variable("", dtype=tf.string)
        arrays = [*(variable.value for variable in trainer.variables), *trainer.averages]
        arrays += [variable.value for variable in trainer.optimizer.variables]
        checkpoint = tf.train.Checkpoint(
            note=self._note, **{f"array{number}": array for number, array in enumerate(arrays)}
        )
        self._manager = tf.train.CheckpointManager(checkpoint, posixpath.join(output, "checkpoint"), max_to_keep=1)
        if self._manager.latest_checkpoint:
            checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
            self.__dict__.update(json.loads(self._note.numpy()))
            log.info("going on from epoch %d, step %d", self.epoch + 1, self.step)

    def save(self) -> None:
        """Writes a checkpoint; the one before is kept until it is whole."""
        stands = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        self._note.assign(json.dumps(stands))
        self._manager.save()

    def is_better(self, value: float) -> bool:
        """Whether to keep this epoch's weights; where nothing has scored yet (always so with one dev picture), yes."""
        return value > self.best or value == self.best == 0.0

    def end_epoch(self, value: float) -> None:
        """Takes note of an epoch's score on the dev pictures."""
        self.history.append(value)
        self.epoch, self.step = self.epoch + 1, 0
        if self.is_better(value):
            self.best, self.best_epoch, self.epochs_without_gain = value, self.epoch, 0
        else:
            self.epochs_without_gain += 1
        self.save()
