"""`captionbeam inspect DIR [PICTURE]`: what a feature set, a captioner or captions hold, or what of one picture."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from beam_pipeline.commands.directories import CAPTIONER, CAPTIONS, FEATURES, kind_of, read_ledgers
from beam_pipeline.options.directories import InspectOptions
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.tables import read_parquet
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId, committed_shards, content_part
from beam_pipeline.words.summary import TABLES, read_summary
from beam_pipeline.words.terms import WORD
from training.data.feature_set import SCHEMA_VERSION, load_feature_set
from training.errors import UserError

TOP_WORDS = 10
ROWS_SHOWN = 20
_SHA256 = re.compile(r"[0-9a-f]{6,64}")


def inspect(options: InspectOptions) -> dict[str, Any]:
    """Prints and returns what was found; writes nothing.

    Raises:
      UserError: it is no directory of captionbeam's, is not finished, or holds no such picture.
    """
    kind = kind_of(options.directory)
    if options.picture is not None:
        found = _picture(options.directory, kind, options.picture)
    else:
        found = {FEATURES: _features, CAPTIONS: _captions, CAPTIONER: _captioner}[kind](options.directory)
    document = {"kind": kind, "path": storage.absolute(options.directory), **found}
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        for line in readable(document):
            print(line)
    return document


def readable(document: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A document as lines of `name  value`; what is nested follows, indented."""
    width = max(map(len, document), default=0)
    for name, value in document.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from readable(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{name}"
            rows = [list(value[0]), *([_text(part) for part in entry.values()] for entry in value[:ROWS_SHOWN])]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                padded = (part.ljust(width) for part, width in zip(row, widths, strict=True))
                yield f"{indent}  {'  '.join(padded)}".rstrip()
            if len(value) > ROWS_SHOWN:
                yield f"{indent}  ... and {len(value) - ROWS_SHOWN:,} more"
        elif isinstance(value, list) and any(" " in str(part) for part in value):
            yield f"{indent}{name}"
            yield from (f"{indent}  {part}" for part in value)
        else:
            yield f"{indent}{name:<{width}}  {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(_text, value)) or "-" if isinstance(value, list) else str(value)


def _features(directory: str) -> dict[str, Any]:
    features = load_feature_set(directory)
    size = sum(shard.size_bytes for shard in features.shards)
    return {
        "schema_version": SCHEMA_VERSION,
        "encoder": {"id": features.encoder.id, **asdict(features.encoder)},
        "pictures": features.records,
        "captions": features.captions,
        "further_views": features.augment,
        "size_bytes": size,
        "bytes_per_picture": size // features.records,
        "totals": features.totals,
        "notes": {kind: len(texts) for kind, texts in features.notes.items()},
        "shards": [asdict(shard) for shard in features.shards],
    }


def _captions(directory: str) -> dict[str, Any]:
    summary = read_summary(directory, "inspect")
    rows = read_parquet(storage.read_bytes(storage.join(directory, f"{TABLES[WORD]}.parquet")))
    top = [row for row in rows if not row["stop_word"]][:TOP_WORDS]
    return {
        **{name: summary[name] for name in ("made_with", "captions", "pictures", "files", "words", "bigrams")},
        "flags": summary["flags"],
        "evidence": summary["evidence"],
        "reference": summary["reference"],
        "totals": summary["totals"],
        "shards": len(committed_shards(storage.list_directory(directory))),
        "top_words": [{"word": row["word"], "estimate": row["estimate"], "images": row["images"]} for row in top],
    }


def _captioner(directory: str) -> dict[str, Any]:
    from training.models.captioner import load_captioner
    from training.models.captioner_files import METRICS, read_config

    config, captioner = read_config(directory), load_captioner(directory)
    presence, metrics = captioner.presence, storage.join(directory, METRICS)
    trained_with = {name: value for name, value in config["trained_with"].items() if name != "feature_shards"}
    return {
        "schema_version": config["schema_version"],
        "model_id": captioner.model_id,
        "model": config["model"],
        "parameters": int(sum(np.prod(variable.shape) for variable in captioner.model.trainable_variables)),
        "vocabulary": len(captioner.vocabulary),
        "min_words": captioner.min_words,
        "max_words": captioner.max_words,
        "encoder": {"id": captioner.encoder.id, **asdict(captioner.encoder)},
        "word_presence_head": presence is not None,
        "trained_with": {name: value for name, value in trained_with.items() if value is not None},
        "feature_shards": len(config["trained_with"].get("feature_shards", [])),
        "metrics": json.loads(storage.read_bytes(metrics)) if storage.exists(metrics) else None,
    }


def _picture(directory: str, kind: str, name: str) -> dict[str, Any]:
    if kind == CAPTIONER:
        raise UserError(f"{directory}: a captioner holds no pictures; give a feature set or captions")
    committed = read_ledgers(directory).committed
    lines = sorted(_lines_of(directory, committed, name), key=lambda line: line.uri)
    contents = sorted({line.sha256 for line in lines})
    if not lines:
        raise UserError(f"{directory}: no ledger speaks of {name}; give a file's name, its whole address or its sha256")
    if len(contents) > 1:
        some = ", ".join(line.uri for line in lines[:3])
        raise UserError(
            f"{directory}: {name} are {len(contents)} pictures ({some}, ...); give a whole address or sha256"
        )
    files = [{"uri": line.uri, "outcome": line.outcome, "reason": f"{line.stage} {line.reason}"} for line in lines]
    found: dict[str, Any] = {"sha256": contents[0], "files": files}
    if all(line.outcome == REJECTED for line in lines):
        return found
    read = _feature_record if kind == FEATURES else _caption_of
    return {**found, **read(directory, committed, contents[0])}


def _lines_of(directory: str, committed: tuple[ShardId, ...], name: str) -> Iterator[LedgerLine]:
    """The newest ledger line of each file that `name` names."""
    newest: dict[str, LedgerLine] = {}
    for shard in committed:
        for line in read_ledger(storage.join(directory, shard.ledger())):
            by_content = _SHA256.fullmatch(name) and line.sha256.startswith(name)
            if by_content or name in (line.uri, os.path.basename(line.uri)):
                newest[line.uri] = line
    return iter(newest.values())


def _shards_of(committed: tuple[ShardId, ...], sha256: str) -> list[ShardId]:
    """The shards that a picture may be in: one of each run."""
    return [shard for shard in committed if content_part(sha256, shard.count) == shard.index]


def _feature_record(directory: str, committed: tuple[ShardId, ...], sha256: str) -> dict[str, Any]:
    import tensorflow as tf

    from training.data.feature_records import deserialize

    for shard in _shards_of(committed, sha256):
        path = storage.join(directory, shard.features())
        if not storage.exists(path):
            continue
        with storage.local_copy(path) as local:
            for serialized in tf.data.TFRecordDataset(local):
                record = deserialize(serialized.numpy())
                if record.sha256 == sha256:
                    feature = record.feature.astype(np.float32)
                    return {
                        "shard": shard.features(),
                        "width": record.width,
                        "height": record.height,
                        "feature": {
                            "shape": list(feature.shape),
                            "dtype": str(record.feature.dtype),
                            "mean": float(feature.mean()),
                            "largest": float(feature.max()),
                            "zeros": float((feature == 0).mean()),
                        },
                        "further_views": 0 if record.views is None else len(record.views),
                        "captions": list(record.captions),
                    }
    raise UserError(f"{directory}: {sha256} is in a ledger and in no shard; run captionbeam verify {directory}")


def _caption_of(directory: str, committed: tuple[ShardId, ...], sha256: str) -> dict[str, Any]:
    for shard in _shards_of(committed, sha256):
        with storage.open_file(storage.join(directory, shard.captions())) as file:
            for line in file:
                row = json.loads(line)
                if row["sha256"] == sha256:
                    evidence = row.pop("evidence", None)
                    return {"shard": shard.captions(), **row, "has_evidence": evidence is not None}
    raise UserError(f"{directory}: {sha256} is in a ledger and in no shard; run captionbeam verify {directory}")
