"""Fits a captioner to a feature set. Reads from top to bottom: settings, data, model, loop.

Everything random comes from the seed, the epoch and the step, so a training that was killed goes on, from its last
checkpoint, as if nothing had happened.
"""

from __future__ import annotations

import logging
import math
import posixpath
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.data.dataset import Scan, checked, pictures_of, scan, training_batches, training_references
from training.data.feature_records import FEATURE_SHAPES
from training.data.feature_set import INT8_ENCODER, RANDOM_STATISTICS, FeatureSet, load_feature_set
from training.data.splits import DEV, TRAIN, Split, make_split
from training.decoding.decoder import CaptionDecoder
from training.errors import UserError
from training.files import content_hash, locked, reach, read_json, write_json, writing
from training.fitting.confidence import fit_confidence
from training.fitting.presence import fit_opinion_pool, fit_presence
from training.fitting.progress_bar import progress_bar
from training.fitting.self_critical import CiderReward, SelfCritical
from training.fitting.trainer import Progress, Trainer
from training.models import captioner as store
from training.models.caption_models import WORD_SPREAD, ModelConfig, build_model
from training.models.captioner import Captioner, load_captioner
from training.models.confidence import remove_confidence
from training.models.presence import load_presence, remove_presence
from training.options import TrainOptions, with_defaults
from training.scoring.scores import cider
from training.text.glove import load_glove, project
from training.text.vocabulary import SPECIALS, VOCABULARY, Vocabulary, build_vocabulary

log = logging.getLogger("captionbeam")

_DROPOUTS = ("feature_dropout", "word_dropout", "output_dropout", "position_dropout")
LABELS = ("loss", "reward")  # what the steps of each stage show
_FILES = ("glove", "train_list", "dev_list")  # options that name a file
STANDARDIZED_BY = 256  # training pictures whose channels are measured


def train(options: TrainOptions) -> dict[str, Any]:
    """Trains, or goes on where an earlier call was stopped; returns the content of `metrics.json`.

    Raises:
      UserError: nothing to train on, or the output holds a training with other settings.
      JobFailed: a shard is damaged, the output cannot be written, or another training is writing there.
    """
    features = load_feature_set(options.features)  # a wrong call is better found before anything is written
    reach(options.output)
    with writing(f"--output {options.output}", "training goes on from its last checkpoint"):
        tf.io.gfile.makedirs(options.output)
        with locked(options.output):
            return _train(options, features)


def _train(options: TrainOptions, features: FeatureSet) -> dict[str, Any]:
    options = with_defaults(options)
    assert options.epochs and options.batch_size and options.self_critical_epochs is not None
    settings = _settings(options, features)
    finished = _look_at_output(options.output, settings)
    if finished is not None:
        split = make_split(options.train_list, options.dev_list, features.records)
        if not _has_sound_presence(options.output):  # an earlier captionbeam knew none, or another kind
            _fit_presence(options, features, split, scan(features, split))
        if not _has_sound_confidence(options.output):  # likewise, or of the head that was renewed
            _fit_confidence(options, features, split, scan(features, split))
        print(f"{options.output}: training is finished already; CIDEr on dev {100 * finished['dev_cider']:.1f}")
        return finished
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()

    split = make_split(options.train_list, options.dev_list, features.records)
    found = scan(features, split)
    vocabulary = build_vocabulary(found.word_counts, options.min_count)
    _tell(found, vocabulary, features, options)
    model = _make_model(options, features, split, vocabulary, found)
    store.write_config(options.output, model.config, features.encoder, options.max_words, found.least_words(), settings)
    vocabulary.save(posixpath.join(options.output, VOCABULARY))
    found.words.save(options.output)
    _copy_encoder(options)

    steps = math.ceil(found.train_pictures / options.batch_size)
    trainer = Trainer(
        model,
        FEATURE_SHAPES[features.encoder.feature_kind],
        options,
        steps * options.epochs,
        steps * options.self_critical_epochs,
    )
    progress = Progress(options.output, trainer)
    loop = _Loop(options, features, split, vocabulary, trainer, progress, steps)
    began = time.monotonic()
    loop.run(0, "epoch", options.epochs, trainer.step)
    if options.self_critical_epochs:
        if progress.stage == 0:
            store.load_weights(model, options.output)
            trainer.begin_second_stage()
            progress.begin_stage(1)
        reward = CiderReward(training_references(features, split, vocabulary, options.max_words))
        critic = SelfCritical(trainer, reward)
        loop.run(1, "self-critical epoch", options.self_critical_epochs, critic.step)

    _fit_presence(options, features, split, found)
    _fit_confidence(options, features, split, found)
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


class _Loop:
    """Epochs over the training pictures, each judged by captions of the dev pictures."""

    def __init__(
        self,
        options: TrainOptions,
        features: FeatureSet,
        split: Split,
        vocabulary: Vocabulary,
        trainer: Trainer,
        progress: Progress,
        steps: int,
    ):
        self.options, self.features, self.split, self.vocabulary = options, features, split, vocabulary
        self.trainer, self.progress, self.steps = trainer, progress, steps
        view = Captioner(options.output, trainer.model, vocabulary, features.encoder, options.max_words, model_id="")
        self._judge = CaptionDecoder(view, beam_width=1)  # reads the model's variables as they are
        self._writer = tf.summary.create_file_writer(posixpath.join(options.output, "log"))

    def run(self, stage: int, name: str, epochs: int, step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> None:
        """Runs what is left of a stage: `epochs` at most, as long as the last ones of `patience` gained something.

        Args:
          stage: its number; one that is behind already is left out.
          name: what to call its epochs.
          step: (features, ids) of a batch -> what it shows while it learns, a scalar.
        """
        progress, patience = self.progress, self.options.patience
        while (
            progress.stage == stage
            and progress.epoch - progress.stage_began < epochs
            and progress.epochs_without_gain < patience
        ):
            title = f"{name} {progress.epoch - progress.stage_began + 1}/{epochs}"
            shown = self._epoch(title, step)
            with self.trainer.averaged_weights():
                value = _dev_cider(self._judge, self.features, self.split)
                better = progress.is_better(value)
                if better:
                    store.save_weights(self.trainer.model, self.options.output)
            with self._writer.as_default(step=self.trainer.steps_done()):
                tf.summary.scalar("dev_cider", value)
            self._writer.flush()
            best = " (best)" if better else ""
            log.info("%s: %s %.3f, CIDEr on dev %.1f%s", title, LABELS[stage], shown, 100 * value, best)
            progress.end_epoch(value)

    def _epoch(self, title: str, step: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> float:
        """What is left of an epoch; returns the mean of what its steps show."""
        progress, options = self.progress, self.options
        assert options.batch_size
        batches = training_batches(
            self.features,
            self.split,
            self.vocabulary,
            options.batch_size,
            options.max_words,
            options.seed,
            progress.epoch,
        )
        bar = progress_bar(self.steps, title, "step", progress.step)
        label = LABELS[progress.stage]
        shown = []
        with bar:  # also where a step fails: the message comes after it
            for batch in checked(batches.skip(progress.step).prefetch(4), *self.features.shard_paths()):
                shown.append(step(*batch))
                progress.step += 1
                bar.update()
                if progress.step % 20 == 0:
                    bar.set_postfix({label: f"{shown[-1]:.3f}"}, refresh=False)
                    with self._writer.as_default(step=self.trainer.steps_done()):
                        tf.summary.scalar(label, shown[-1])
                if progress.step % options.checkpoint_steps == 0:
                    progress.save()
        return float(np.mean([float(value) for value in shown])) if shown else float("nan")


def _settings(options: TrainOptions, features: FeatureSet) -> dict[str, Any]:
    """Everything that decides the result; what only says how often to save is left out. Files count by content."""
    chosen = asdict(options)
    for name in ("output", "features", "checkpoint_steps", "presence"):
        del chosen[name]
    return chosen | {
        "content": {name: content_hash(chosen[name]) if chosen[name] else None for name in _FILES},
        "feature_shards": [shard.sha256 for shard in features.shards if shard.records],
    }


def _look_at_output(output: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Metrics of a finished training with these settings, or None where there is something to do.

    Raises:
      UserError: the output holds another training.
    """
    if not tf.io.gfile.exists(posixpath.join(output, store.CONFIG)):
        return None
    other = _other_setting(store.read_config(output)["trained_with"], settings)
    if other:
        raise UserError(f"--output {output}: holds a captioner trained with {other}; choose another --output")
    metrics = posixpath.join(output, store.METRICS)
    if not tf.io.gfile.exists(metrics):
        return None
    return read_json(metrics)


def _other_setting(there: dict[str, Any], here: dict[str, Any]) -> str | None:
    """How the training in the output was called otherwise than this one; None if it was not."""
    for name, value in here.items():
        option = f"--{name.replace('_', '-')}"
        if name == "feature_shards":
            if there.get(name) != value:
                return "other feature shards"
        elif name in _FILES:
            content = there.get("content", {}).get(name)
            if content != here["content"][name]:
                return f"{option} {there.get(name)}" + (" of another content" if there.get(name) == value else "")
        elif name != "content" and there.get(name) != value:
            return f"{option} {there.get(name)}"
    return None


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
        **{name: getattr(options, name) for name in _DROPOUTS},
        # Random weights give channels whose common part is far larger than what tells pictures apart.
        standardize=features.encoder.weights == "random",
    )
    model = build_model(config, FEATURE_SHAPES[features.encoder.feature_kind], options.seed)
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


def _has_sound_presence(captioner: str) -> bool:
    try:
        return load_presence(captioner) is not None
    except UserError:
        return False


def _has_sound_confidence(captioner: str) -> bool:
    try:
        return load_captioner(captioner).confidence is not None
    except UserError:
        return False


def _fit_presence(options: TrainOptions, features: FeatureSet, split: Split, found: Scan) -> None:
    """Word presence is learnt from the same pictures as the captioner, and pooled with what that expects."""
    head, tail = fit_presence(features, split, found.words, options.seed, options.presence)
    dev = (feature for _, feature in pictures_of(features, lambda sha256, uris: split.of(sha256, uris) == DEV))
    remove_presence(options.output)  # whatever is there, the captioner is asked without it
    pooled = fit_opinion_pool(load_captioner(options.output), head, dev)
    if pooled:
        head, tail = pooled[0], {**tail, **pooled[1]}
    head.save(options.output, tail)


def _fit_confidence(options: TrainOptions, features: FeatureSet, split: Split, found: Scan) -> None:
    """What judges the captions of the finished captioner, its head included."""
    remove_confidence(options.output)
    captioner = load_captioner(options.output)
    fit_confidence(captioner, features, split, found.words).save(options.output, captioner.model_id)


def _copy_encoder(options: TrainOptions) -> None:
    """Random encoder weights are made from statistics that lie with the features, and an encoder in int8 is a file
    there; new pictures need them too.
    """
    for name in (RANDOM_STATISTICS, INT8_ENCODER):
        source = posixpath.join(options.features, name)
        if tf.io.gfile.exists(source):
            tf.io.gfile.copy(source, posixpath.join(options.output, name), overwrite=True)


def _dev_cider(decoder: CaptionDecoder, features: FeatureSet, split: Split) -> float:
    """CIDEr of greedy captions of the dev pictures, 0 to 10; one picture alone is compared by nothing and gives 0."""
    wanted = pictures_of(features, lambda sha256, uris: split.of(sha256, uris) == DEV)
    generated, references = {}, {}
    for picture, hypothesis, *_ in decoder.decode_pictures(pair for pair in wanted if pair[0].captions):
        generated[picture.sha256] = hypothesis.caption
        references[picture.sha256] = picture.captions
    return cider(generated, references) or 0.0
