"""`captionbeam status DIR`: what is done in a directory, what is missing, and how to go on."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from beam_pipeline.commands.directories import CAPTIONS, FEATURES, Ledgers, is_locked, kind_of, read_ledgers
from beam_pipeline.options.directories import StatusOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import duration
from beam_pipeline.shards.ledger import DONE, DUPLICATE, REJECTED
from beam_pipeline.shards.manifest import read_manifest
from beam_pipeline.words.summary import SUMMARY
from training.data.feature_set import INT8_ENCODER
from training.errors import UserError

REASONS_SHOWN = 10

Row = tuple[str, str]


def status(options: StatusOptions) -> list[Row]:
    """Prints and returns what a directory's state is; writes nothing.

    Raises:
      UserError: it is no directory of captionbeam's.
    """
    directory = storage.absolute(options.directory)
    kind = kind_of(directory)
    running = is_locked(directory)
    if kind == FEATURES:
        rows = _of_features(directory, running)
    elif kind == CAPTIONS:
        rows = _of_captions(directory, running)
    else:
        rows = _of_captioner(directory, running)
    rows.insert(
        1, ("running now", {True: "yes", False: "no", None: "unknown: a remote directory is not locked"}[running])
    )
    if written := storage.last_written(directory):
        ago = duration(max(0.0, time.time() - written))
        rows.insert(2, ("last written", f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(written))}, {ago} ago"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return rows


def _of_features(directory: str, running: bool | None) -> list[Row]:
    ledgers, manifest = read_ledgers(directory), read_manifest(directory)
    rows = [(FEATURES, directory)]
    command = ["captionbeam", "extract", "--images", "...", "--output", directory]
    unlisted = len(ledgers.committed)
    if manifest:
        encoder = manifest.encoder
        rows.append(("encoder", str(encoder)))
        # An encoder in int8 lies there, weights included.
        weights = storage.join(directory, INT8_ENCODER) if encoder.precision == "int8" else encoder.weights
        command += ["--weights", weights, "--feature-kind", encoder.feature_kind, "--layer", encoder.layer]
        command += ["--precision", encoder.precision, "--engine", encoder.engine]
        if manifest.augment:
            command += ["--augment", str(manifest.augment)]
        if manifest.captions:
            command += ["--captions", "..."]
        unlisted -= len(manifest.shards)
    rows += _of_ledgers(ledgers)
    if unlisted:
        rows.append(("manifest", f"lacks {unlisted} finished shards; the next run adds them"))
    ended = bool(ledgers.committed) and not ledgers.unfinished and not unlisted
    return [*rows, _how_to_go_on(ended, running, command)]


def _of_captions(directory: str, running: bool | None) -> list[Row]:
    path = storage.join(directory, SUMMARY)
    try:
        summary = json.loads(storage.read_bytes(path))
        made_with = summary["made_with"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run captionbeam caption again") from error
    ledgers = read_ledgers(directory)
    rows = [(CAPTIONS, directory), ("made with", ", ".join(f"{name} {value}" for name, value in made_with.items()))]
    rows += _of_ledgers(ledgers)
    ended = "pictures" in summary and not ledgers.unfinished
    if ended:
        rows.append(("words", f"{summary['words']:,} content words of {summary['captions']:,} captions"))
    else:
        rows.append(("words", "not counted yet, or not of all shards"))
    command = ["captionbeam", "caption", f"--{made_with.get('source', 'images')}", "...", "--captioner", "..."]
    command += ["--output", directory]
    for name in ("beam_width", "min_words", "guidance", "alternatives"):
        if name in made_with:
            command += [f"--{name.replace('_', '-')}", str(made_with[name])]
    return [*rows, _how_to_go_on(ended, running, command)]


def _of_ledgers(ledgers: Ledgers) -> list[Row]:
    counts = ledgers.outcomes
    rows = [
        (
            "inputs",
            f"{counts.total():,} = {counts[DONE]:,} done + {counts[DUPLICATE]:,} duplicate + "
            f"{counts[REJECTED]:,} rejected",
        )
    ]
    reasons = ledgers.reasons.most_common()
    rows += [("  rejected", f"{number:,} {stage}: {reason}") for (stage, reason), number in reasons[:REASONS_SHOWN]]
    if len(reasons) > REASONS_SHOWN:
        left = sum(number for _, number in reasons[REASONS_SHOWN:])
        rows.append(("  rejected", f"{left:,} for {len(reasons) - REASONS_SHOWN} other reasons"))
    rows.append(("shards", f"{len(ledgers.committed):,} finished"))
    for run in ledgers.unfinished:
        rows.append(("  unfinished", f"run {run.run}: {len(run.missing):,} of {run.count:,} shards are missing"))
    return rows


def _of_captioner(directory: str, running: bool | None) -> list[Row]:
    from training.fitting.state import read_state
    from training.models.captioner_files import METRICS, PRESENCE_WORDS, read_config
    from training.options import TrainOptions, with_defaults

    config = read_config(directory)
    trained_with = config["trained_with"]
    model = trained_with["model"]
    rows = [("captioner", directory), ("model", model)]
    state = read_state(directory)
    if state:
        epochs = f"{state.epoch} done"
        epochs += f" of {trained_with['epochs']} and {trained_with['self_critical_epochs']} self-critical at most"
        if state.step:
            epochs += f", {state.step} steps of the next"
        rows.append(("epochs", epochs))
        if state.best_epoch:
            rows.append(("best", f"CIDEr on dev {100 * state.best:.1f}, epoch {state.best_epoch}"))
    ended = storage.exists(storage.join(directory, METRICS))
    head = storage.exists(storage.join(directory, PRESENCE_WORDS))
    rows.append(("word-presence head", "there" if head else "not yet, or made by an earlier captionbeam"))
    command = ["captionbeam", "train", "--features", "...", "--output", directory]
    usual = with_defaults(TrainOptions(features="", output="", model=model))
    command += train_arguments(trained_with, {field.name: getattr(usual, field.name) for field in fields(usual)})
    return [*rows, _how_to_go_on(ended, running, command)]


def train_arguments(trained_with: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """The options that a captioner was trained with, where they are not the usual ones."""
    from beam_pipeline.commands.parser import stage_parser

    arguments: list[str] = []
    for action in stage_parser("train")._actions:
        name = action.dest
        if (
            name in trained_with
            and trained_with[name] is not None
            and (name == "model" or trained_with[name] != usual.get(name))
        ):
            arguments += [f"--{name.replace('_', '-')}", str(trained_with[name])]
    return arguments


def _how_to_go_on(ended: bool, running: bool | None, command: list[str]) -> Row:
    said = " ".join(part if part == "..." else shlex.quote(part) for part in command)
    if running:
        return "go on with", "nothing: a job is at it"
    if ended:
        return "finished", f"for what is new: {said}"
    return "go on with", said
