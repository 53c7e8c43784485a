"""Fits a captioner to a feature set. Reads from top to bottom: settings, data, model, loop.

Everything random comes from the seed, the epoch and the step, so a training that was killed goes on, from its last
checkpoint, as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import posixpath
import time
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from training.data.dataset import Scan, encode_caption, pictures_of, scan
from training.data.feature_set import FeatureSet, load_feature_set
from training.data.splits import DEV, TRAIN, Split, make_split
from training.data.strangers import mention_strangers
from training.errors import UserError
from training.files import is_local, locked, refuse_links, remove_temporary_files, writing
from training.fitting.confidence import fit_confidence, word_weights
from training.fitting.encoder_tail import EncoderTail, load_tail, looked_at, with_default_tail
from training.fitting.judge import LEAST_PICTURES, fit_judge, log_too_few
from training.fitting.loop import EpochLoop, StagePlan, TrainingData
from training.fitting.phrases import fit_phrases
from training.fitting.pooled_pictures import PooledPictures, pooled_pictures
from training.fitting.presence import fit_opinion_pool, fit_presence
from training.fitting.self_critical import CiderReward, SelfCritical
from training.fitting.state import Stage
from training.fitting.trainer import Trainer
from training.models.caption_models import WORD_SPREAD, CaptionModel, ModelConfig, build_model
from training.models.captioner import Captioner, judged_id, load_captioner, load_weights, write_config
from training.models.captioner_files import read_config, read_metrics
from training.models.confidence import remove_confidence
from training.models.judge import Judge, remove_judge
from training.models.presence import load_presence, remove_presence
from training.options import NO_TAIL, TrainOptions, with_defaults
from training.own_directories import require_output
from training.own_names import (
    CAPTIONER,
    CHECKPOINTS,
    CONFIG,
    INT8_ENCODER,
    LOG,
    METRICS,
    RANDOM_STATISTICS,
    VOCABULARY,
    WEIGHTS,
)
from training.storage import content_hash, copy_own, exists, make_directory, read_document, write_document
from training.text.glove import load_glove, project
from training.text.human_captions import MARKED, MAX_CAPTIONS, MAX_CHARACTERS, OVER_LIMIT, WORDLESS
from training.text.plurals import counted
from training.text.vocabulary import SPECIALS, Vocabulary, build_vocabulary, load_vocabulary

log = logging.getLogger("captionbeam")

_DROPOUTS = ("feature_dropout", "word_dropout", "output_dropout", "position_dropout")
_OF_TAIL = ("tail_rate", "tail_warm_up", "word_loss")  # settings that mean nothing where no block of the encoder learns
_FILES = ("glove", "train_list", "dev_list")  # options that name a file
STANDARDIZED_BY = 256  # training pictures whose channels are measured
_LOOKED_AT = 16  # of them at once


def train(options: TrainOptions) -> dict[str, Any]:
    """Trains, or goes on where an earlier call was stopped; returns the content of `metrics.json`.

    Raises:
      UserError: nothing to train on, or the output holds a training with other settings.
      JobFailed: a shard is damaged, the output cannot be written, or another training is writing there.
    """
    require_output(options.output, CAPTIONER)
    features = load_feature_set(options.features)  # a wrong call is better found before anything is written
    options = with_default_tail(with_defaults(options), features.encoder)
    looked_at(options, features.encoder)
    mention_strangers(features)
    with writing(f"--output {options.output}", "training goes on from its last checkpoint"):
        make_directory(options.output)
        with locked(options.output):
            if is_local(options.output):
                remove_temporary_files(options.output)
                refuse_links(options.output, (CHECKPOINTS, LOG))
            return _train(options, features)


def _train(options: TrainOptions, features: FeatureSet) -> dict[str, Any]:
    """Trains in an output that is locked; `options` has its defaults filled in."""
    assert options.epochs and options.batch_size and options.self_critical_epochs is not None
    settings = _settings(options, features)
    finished = _finished_metrics(options.output, settings)
    split = make_split(options.train_list, options.dev_list, features.records)
    if finished is not None:
        _fit_missing_heads(options, features, split, finished["dev_pictures"])
        print(f"{options.output}: training is finished already; CIDEr on dev {100 * finished['dev_cider']:.1f}")
        return finished
    tail = load_tail(options, features)
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()

    scanned = scan(features, split)
    log_captions(scanned)
    vocabulary = build_vocabulary(scanned.word_counts, options.min_count)
    require_same_words(options.output, vocabulary)
    _log_scan(scanned, vocabulary, options)
    _log_tail(tail)
    model = _make_model(options, features, tail, split, vocabulary, scanned)
    write_config(options.output, model.config, features.encoder, options.max_words, scanned.least_words(), settings)
    vocabulary.save(posixpath.join(options.output, VOCABULARY))
    scanned.words.save(options.output)
    _copy_encoder(options)

    data = TrainingData(
        features, split, vocabulary, scanned.train_pictures, options.batch_size, options.max_words, options.seed
    )
    trainer = Trainer(
        model,
        features.encoder.feature_shape,
        options,
        data.steps * options.epochs,
        data.steps * options.self_critical_epochs,
    )
    loop = EpochLoop(options, data, trainer)
    began = time.monotonic()
    loop.run(StagePlan(Stage.CROSS_ENTROPY, "epoch", "loss", options.epochs, trainer.step))
    if options.self_critical_epochs:
        if loop.state.stage == Stage.CROSS_ENTROPY:
            load_weights(model, options.output)
            trainer.begin_second_stage()
            loop.begin(Stage.SELF_CRITICAL)
        critic = SelfCritical(trainer, CiderReward(data.references()))
        loop.run(
            StagePlan(Stage.SELF_CRITICAL, "self-critical epoch", "reward", options.self_critical_epochs, critic.step)
        )

    _fit_presence(options, features, split, scanned)
    _fit_confidence(options, features, split, scanned)
    state = loop.state
    metrics = {
        "dev_cider": state.best,
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "history": state.history,
        "train_pictures": scanned.train_pictures,
        "train_captions": scanned.train_captions,
        "dev_pictures": scanned.dev_pictures,
        "vocabulary": len(vocabulary),
        "parameters": int(sum(np.prod(variable.shape) for variable in model.trainable_variables)),
    }
    sha256 = {name: content_hash(posixpath.join(options.output, name)) for name in (WEIGHTS, VOCABULARY)}
    write_document(posixpath.join(options.output, METRICS), {**metrics, "sha256": sha256})
    print(
        f"{options.output}: {counted(state.epoch, 'epoch')} in {(time.monotonic() - began) / 60:.1f} min, "
        f"best CIDEr on dev {100 * state.best:.1f} (epoch {state.best_epoch})"
    )
    return metrics


def _settings(options: TrainOptions, features: FeatureSet) -> dict[str, Any]:
    """Everything that decides the result; what only says how often to save is left out. Files count by content."""
    chosen = asdict(options)
    for name in ("output", "features", "checkpoint_steps", "presence"):
        del chosen[name]
    return chosen | {
        "content": {name: content_hash(chosen[name]) if chosen[name] else None for name in _FILES},
        "feature_shards": [shard.sha256 for shard in features.shards if shard.records],
    }


def _finished_metrics(output: str, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Content of `metrics.json` of a finished training with these settings; None if there is something to do.

    Raises:
      UserError: the output holds another training.
    """
    if not exists(posixpath.join(output, CONFIG)):
        return None
    difference = _first_difference(read_config(output).trained_with, settings)
    if difference:
        raise UserError(f"--output {output}: holds a captioner trained with {difference}; choose another --output")
    if read_metrics(output) is None:
        return None
    metrics = read_document(posixpath.join(output, METRICS), dict[str, Any], "") or {}
    return {name: value for name, value in metrics.items() if name != "sha256"}  # the files' digests measure nothing


def _first_difference(earlier: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Settings of two calls -> the first one that differs, as the earlier call had it; None if they are the same.

    An option that the earlier captionbeam did not have counts as left out, and no block of the encoder learnt.
    """
    defaults = asdict(with_defaults(TrainOptions("", "", now["model"], tail=NO_TAIL)))
    for name, value in now.items():
        if name in _OF_TAIL and now["tail"] == NO_TAIL:
            continue
        option, before = f"--{name.replace('_', '-')}", earlier.get(name, defaults.get(name))
        if name == "feature_shards":
            if before != value:
                return "other feature shards"
        elif name in _FILES:
            if earlier.get("content", {}).get(name) != now["content"][name]:
                return f"{option} {before}" + (" of another content" if before == value else "")
        elif name != "content" and before != value:
            return f"{option} {before}"
    return None


def require_same_words(output: str, vocabulary: Vocabulary) -> None:
    """Checks that an interrupted training in this output has the words that it would have now.

    Raises:
      UserError: an earlier captionbeam cut the captions in another way.
    """
    if exists(posixpath.join(output, VOCABULARY)) and load_vocabulary(output) != vocabulary:
        raise UserError(
            f"--output {output}: holds an unfinished training by another captionbeam, which cut captions into other "
            "words; choose another --output"
        )


def log_captions(scanned: Scan) -> None:
    """Says what was wrong with captions, before anything is made of the others."""
    messages = {
        MARKED: "%s with marks of a decoder, such as <start> or <end>: trained without the marks",
        WORDLESS: "%s without a word: left out",
        OVER_LIMIT: f"%s left out: a picture keeps {MAX_CAPTIONS} at most, of {MAX_CHARACTERS:,} characters at most",
    }
    for kind, message in messages.items():
        if scanned.faults[kind]:
            log.info(message, counted(scanned.faults[kind], "caption"))
    for script, captions in scanned.unspaced.items():
        log.warning(
            "%s in %s, which puts no spaces between words: training takes all that stands between two spaces for one "
            "word; put spaces between the words of your captions, and extract into another directory",
            counted(captions, "training caption"),
            script,
        )


def _log_scan(scanned: Scan, vocabulary: Vocabulary, options: TrainOptions) -> None:
    log.info(
        "%s with %s for training, %s for validation",
        counted(scanned.train_pictures, "picture"),
        counted(scanned.train_captions, "caption"),
        counted(scanned.dev_pictures, "picture"),
    )
    if scanned.in_both:
        log.info(
            "%s in both lists, by name or by content: used for validation, not for training",
            counted(scanned.in_both, "picture"),
        )
    if scanned.without_caption:
        log.info("%s without a caption: left out", counted(scanned.without_caption, "picture"))
    if scanned.outside:
        log.info("%s in neither list: left out", counted(scanned.outside, "picture"))
    log.info(
        "vocabulary: %s seen at least %s; it lacks %.1f%% of the words in the training captions",
        counted(len(vocabulary) - SPECIALS, "word"),
        counted(options.min_count, "time"),
        100 * vocabulary.unknown_share(scanned.word_counts),
    )


def _log_tail(tail: EncoderTail) -> None:
    """Says which blocks of the encoder the captioner holds, if any."""
    if names := [operation.name for operation in tail.operations if operation.name]:
        state = "trained too" if tail.learns else "not trained"
        blocks = counted(len(names), "block")
        log.info("%s of the encoder in the captioner, %s: %s", blocks, state, ", ".join(names))


def _make_model(
    options: TrainOptions,
    features: FeatureSet,
    tail: EncoderTail,
    split: Split,
    vocabulary: Vocabulary,
    scanned: Scan,
) -> CaptionModel:
    config = ModelConfig(
        model=options.model,
        vocabulary_size=len(vocabulary),
        embedding_size=options.embedding_size,
        hidden_size=options.hidden_size,
        **{name: getattr(options, name) for name in _DROPOUTS},
        # Random weights give channels whose common part is far larger than what tells pictures apart.
        standardize=features.encoder.weights == "random",
        tail=tail.operations,
        tail_precision="bfloat16" if features.encoder.precision == "bfloat16" else "float32",
    )
    model = build_model(config, features.encoder.feature_shape, options.seed)
    tail.give_to(model)
    if model.standardize:
        training = pictures_of(features, split.selects(TRAIN))
        measured = np.stack([feature for _, feature in islice(training, STANDARDIZED_BY)])
        # A part at a time: what the operations of a tail give takes several megabytes a picture.
        parts = (measured[begin : begin + _LOOKED_AT] for begin in range(0, len(measured), _LOOKED_AT))
        model.standardize.fit(np.concatenate([model.look(part).numpy() for part in parts]))
    if options.glove:
        vectors, coverage = load_glove(options.glove, vocabulary, scanned.word_counts, options.seed)
        vectors = project(vectors, options.embedding_size, options.seed)
        # GloVe's directions, at the spread that the other start values have.
        model.words.embeddings.assign(vectors * (WORD_SPREAD / vectors.std()))
        log.info("%s", coverage)
    return model


def _fit_missing_heads(options: TrainOptions, features: FeatureSet, split: Split, validation_pictures: int) -> None:
    """Adds to a finished captioner what an earlier captionbeam did not fit, or fitted in another way."""
    output, scanned = options.output, functools.cache(lambda: scan(features, split))
    if not _has_sound_presence(output):
        _fit_presence(options, features, split, scanned())
    try:
        captioner = load_captioner(output)
    except UserError:  # a file of one of these two is damaged
        remove_judge(output)
        remove_confidence(output)
        captioner = load_captioner(output)
    if captioner.presence is not None and captioner.judge is None and validation_pictures >= LEAST_PICTURES:
        # The pool of the head stays as it is, and with it the id of the captioner.
        with pooled_pictures(features, split, captioner.model) as pictures:
            _fit_judge(options, features, split, scanned(), captioner, pictures)
        captioner = load_captioner(output)
    if captioner.confidence is None:  # also where the head or the judge was just renewed
        _fit_confidence(options, features, split, scanned())


def _has_sound_presence(captioner: str) -> bool:
    try:
        return load_presence(captioner) is not None
    except UserError:
        return False


def _fit_presence(options: TrainOptions, features: FeatureSet, split: Split, scanned: Scan) -> None:
    """Fits the word-presence head and the judge, and pools the head with what the decoder expects."""
    remove_presence(options.output)  # the captioner is asked without any head
    captioner = load_captioner(options.output)
    with pooled_pictures(features, split, captioner.model) as pictures:
        head, tail = fit_presence(pictures, scanned.words, options.seed, options.presence)
        captioner = replace(captioner, presence=head)
        captioner = replace(captioner, judge=_fit_judge(options, features, split, scanned, captioner, pictures))
    pooled = fit_opinion_pool(captioner, pictures_of(features, split.selects(DEV)))
    if pooled:
        head, tail = pooled[0], {**tail, **pooled[1]}
    head.save(options.output, tail)


def _fit_judge(
    options: TrainOptions,
    features: FeatureSet,
    split: Split,
    scanned: Scan,
    captioner: Captioner,
    pictures: PooledPictures,
) -> Judge | None:
    """Fits the judge of a captioner with a word-presence head, and writes it; None where there are too few pictures."""
    assert captioner.presence is not None
    remove_judge(options.output)
    if scanned.dev_pictures < LEAST_PICTURES:
        log_too_few(scanned.dev_pictures)
        return None
    vocabulary, max_words = captioner.vocabulary, captioner.max_words
    phrases = fit_phrases(pictures, vocabulary, max_words, options.seed, options.presence)
    reward = CiderReward([encode_caption(text, vocabulary, max_words) for text in its] for its in pictures.captions)
    rarity = word_weights(captioner.presence.words, scanned.words)
    judge = fit_judge(captioner, pictures_of(features, split.selects(DEV)), reward, rarity, phrases)
    if judge is not None:
        judge.save(options.output, judged_id(captioner))
    return judge


def _fit_confidence(options: TrainOptions, features: FeatureSet, split: Split, scanned: Scan) -> None:
    """Fits the confidence of the finished captioner, its word-presence head included."""
    remove_confidence(options.output)
    captioner = load_captioner(options.output)
    fit_confidence(captioner, features, split, scanned.words).save(options.output, captioner.rated_id)


def _copy_encoder(options: TrainOptions) -> None:
    """Copies what new pictures need beside the captioner: statistics of random encoder weights, or an int8 encoder."""
    for name in (RANDOM_STATISTICS, INT8_ENCODER):
        source = posixpath.join(options.features, name)
        with contextlib.suppress(FileNotFoundError):
            copy_own(source, posixpath.join(options.output, name))
