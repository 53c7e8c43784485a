"""`captionbeam status DIR`: what is done in a directory, what is missing, and how to continue."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from typing import Any

from beam_pipeline.commands.directories import Ledgers, is_locked, kind_of, lost_shards, missing_shards, read_ledgers
from beam_pipeline.commands.entries import Entry, print_entries
from beam_pipeline.commands.parser import options_of
from beam_pipeline.options.directories import StatusOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import duration
from beam_pipeline.shards.balance import HOW_TO_RETRY, reasons_in_words
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED
from beam_pipeline.shards.manifest import read_manifest, require_ledgers
from beam_pipeline.shards.shard_id import ShardId, parse_shard
from beam_pipeline.words.summary import read_earlier, require_counted_ledgers, require_sizes, shards_of_summary
from training.fitting.state import TrainingState, read_state
from training.models.captioner_files import read_config, read_metrics
from training.options import TrainOptions, with_defaults
from training.own_names import CAPTIONER, CAPTIONS, FEATURES, INT8_ENCODER, MANIFEST, PRESENCE_WORDS
from training.text.plurals import counted

REASONS_SHOWN = 10
_RUNNING = {True: "yes", False: "no", None: "unknown: its file system has no locks"}


def status(options: StatusOptions) -> list[Entry]:
    """Prints and returns the state of a directory; writes nothing.

    Raises:
      UserError: captionbeam made no such directory, or a file in it is damaged.
    """
    directory = storage.absolute(options.directory)
    kind = kind_of(directory)
    running = is_locked(directory)
    if kind == FEATURES:
        entries, finished, command = _of_features(directory)
    elif kind == CAPTIONS:
        entries, finished, command = _of_captions(directory)
    else:
        entries, finished, command = _of_captioner(directory)
    about = [(kind, directory), ("running now", _RUNNING[running])]
    if written := storage.last_written(directory):
        ago = duration(max(0.0, time.time() - written))
        about.append(("last written", f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(written))}, {ago} ago"))
    entries = [*about, *entries, _how_to_continue(kind, finished, running, command)]
    print_entries(entries)
    return entries


# What is known of a directory: its entries, whether it is finished, and the command that makes what is missing.
_State = tuple[list[Entry], bool, list[str]]


def _of_features(directory: str) -> _State:
    ledgers, manifest = read_ledgers(directory), read_manifest(directory)
    require_ledgers(manifest)
    entries: list[Entry] = []
    command = ["captionbeam", "extract", "--images", "...", "--output", directory]
    listed = {shard.name for shard in manifest.shards} if manifest else set()
    unlisted = sum(shard.features() not in listed for shard in ledgers.committed)
    if manifest:
        encoder = manifest.encoder
        entries.append(("encoder", str(encoder)))
        # An int8 encoder lies in the directory itself, with its weights.
        weights = storage.join(directory, INT8_ENCODER) if encoder.precision == "int8" else encoder.weights
        command += ["--weights", weights, "--feature-kind", encoder.feature_kind, "--layer", encoder.layer]
        command += ["--precision", encoder.precision, "--engine", encoder.engine]
        if manifest.augment:
            command += ["--augment", str(manifest.augment)]
        if manifest.captions:
            command += ["--captions", "..."]
    entries += _of_ledgers(ledgers)
    lost = _of_lost(directory, (shard for name in listed if (shard := parse_shard(name, "features"))))
    entries += lost
    if unlisted:
        entries.append((MANIFEST, f"does not list {counted(unlisted, 'finished shard')} yet; the next run adds them"))
    finished = bool(ledgers.committed) and not (ledgers.unfinished or unlisted or lost)
    return entries, finished, command


def _of_captions(directory: str) -> _State:
    summary = read_earlier(directory)
    made_with = summary["made_with"]
    require_sizes(directory)
    require_counted_ledgers(directory)
    ledgers = read_ledgers(directory)
    entries = [("made with", ", ".join(f"{name} {value}" for name, value in made_with.items()))]
    entries += _of_ledgers(ledgers)
    shards = shards_of_summary(directory) if "pictures" in summary else list(ledgers.committed)
    lost = _of_lost(directory, shards)
    entries += lost
    uncounted = len(set(ledgers.committed) - set(shards))
    if "pictures" in summary:
        captions = counted(summary["captions"], "caption")
        entries.append(("words", f"{counted(summary['words'], 'content word')} in {captions}"))
    else:
        entries.append(("words", "not counted yet, or not in all shards"))
    if uncounted:
        entries.append(("  not counted", f"{counted(uncounted, 'finished shard')}; the next run counts them"))
    finished = "pictures" in summary and not (ledgers.unfinished or uncounted or lost)
    command = ["captionbeam", "caption", f"--{made_with.get('source', 'images')}", "...", "--captioner", "..."]
    command += ["--output", directory]
    for name in ("beam_width", "min_words", "guidance", "alternatives", "min_confidence"):
        if made_with.get(name) is not None:
            command += [_flag(name), str(made_with[name])]
    if weights := summary.get("weights"):
        command += ["--weights", weights]
    return entries, finished, command


def _of_captioner(directory: str) -> _State:
    config, metrics = read_config(directory), read_metrics(directory)
    trained_with = config.trained_with
    entries = [("model", config.model.model)]
    finished = metrics is not None
    state = read_state(directory)  # also of a finished training, so that a damaged file does not go unseen
    if metrics is not None:  # which are there whatever captionbeam made them
        state = TrainingState(epoch=metrics.epochs, best=metrics.dev_cider, best_epoch=metrics.best_epoch)
    if state:
        cross_entropy, self_critical = trained_with.get("epochs"), trained_with.get("self_critical_epochs")
        epochs = f"{state.epoch} done, of at most {cross_entropy} and then {self_critical} self-critical"
        if state.step:
            epochs += f"; {counted(state.step, 'step')} of the next"
        entries.append(("epochs", epochs))
        if state.best_epoch:
            entries.append(("best", f"epoch {state.best_epoch}, validation CIDEr {100 * state.best:.1f}"))
    presence = "yes"
    try:
        storage.own_size(storage.join(directory, PRESENCE_WORDS))
    except FileNotFoundError:
        presence = "not yet, or made by an earlier captionbeam"
    entries.append(("word-presence head", presence))
    arguments = train_arguments({**trained_with, "model": config.model.model})
    command = ["captionbeam", "train", "--features", "...", "--output", directory, *arguments]
    return entries, finished, command


def _of_ledgers(ledgers: Ledgers) -> list[Entry]:
    outcomes = ledgers.outcomes
    parts = " + ".join(f"{outcomes[outcome]:,} {outcome}" for outcome in (DONE, DUPLICATE, REJECTED))
    entries = [("inputs", f"{outcomes.total():,} = {parts}")]
    reasons = reasons_in_words(ledgers.reasons, REASONS_SHOWN)
    entries += [("  rejected", text) for text in reasons]
    if reasons:
        entries.append(("  retry", HOW_TO_RETRY))
    entries.append(("shards", f"{len(ledgers.committed):,} finished"))
    for run in ledgers.unfinished:
        entries.append(("  unfinished", f"run {run.run}: {missing_shards(run)}"))
    return entries


def _of_lost(directory: str, counted_before: Iterable[ShardId]) -> list[Entry]:
    """Shards that a manifest or a summary counts -> an entry that names the first ledger that is gone."""
    lost = lost_shards(directory, counted_before)
    if not lost:
        return []
    others, shards = (f" and {counted(len(lost) - 1, 'other ledger')}", "shards") if lost[1:] else ("", "shard")
    return [("  lost", f"{lost[0].ledger()}{others}; the next run makes the {shards} again")]


def train_arguments(trained_with: Mapping[str, Any]) -> list[str]:
    """Settings of a training, from `config.json` -> the options of `train` that differ from their defaults.

    Model and tail are always among them.
    """
    usual = with_defaults(TrainOptions(features="", output="", model=trained_with["model"]))
    arguments: list[str] = []
    for field, _ in options_of(TrainOptions):
        value = trained_with.get(field.name)
        if value is not None and (field.name == "model" or value != getattr(usual, field.name)):
            arguments += [_flag(field.name), str(value)]
    return arguments


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _how_to_continue(kind: str, finished: bool, running: bool | None, command: list[str]) -> Entry:
    line = " ".join(part if part == "..." else shlex.quote(part) for part in command)
    if running:
        return "continue with", "nothing: a job is running"
    if finished:
        return "finished", f"trained by {line}" if kind == CAPTIONER else f"to add what is new: {line}"
    return "continue with", line
