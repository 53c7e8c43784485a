"""`captionbeam inspect DIR [PICTURE]`: what a feature set, a captioner or captions contain, or what of one picture."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from beam_pipeline.captions.picture import read_captions
from beam_pipeline.commands.directories import kind_of, lost_shards, read_ledgers
from beam_pipeline.options.directories import InspectOptions
from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import REJECTED, LedgerLine, read_ledger
from beam_pipeline.shards.manifest import read_manifest, require_ledgers
from beam_pipeline.shards.shard_id import ShardId, content_part, parse_shard
from beam_pipeline.words.summary import counted_shards, read_summary, read_table, sound_shards
from beam_pipeline.words.terms import WORD
from training.data.feature_set import SCHEMA_VERSION, load_feature_set
from training.data.strangers import unlisted_files
from training.errors import UserError
from training.models.captioner_files import CONFIG_SCHEMA_VERSION, CaptionerConfig, read_config, read_metrics
from training.models.operations import array_shapes
from training.options import NO_TAIL
from training.own_names import CAPTIONER, CAPTIONS, FEATURES, METRICS, OWN_NAMES, TAIL
from training.text.plurals import counted

TOP_WORDS = 10
ROWS_SHOWN = 20
_SHA256 = re.compile(r"[0-9a-f]{6,64}")  # or the beginning of one


def inspect(options: InspectOptions) -> dict[str, Any]:
    """Prints and returns what a directory, or one picture in it, is; writes nothing.

    Raises:
      UserError: captionbeam made no such directory, it is not finished, or it contains no such picture.
    """
    directory = options.directory
    kind = kind_of(directory)
    if options.picture is not None:
        content = _picture(directory, kind, options.picture)
    else:
        content = {FEATURES: _features, CAPTIONS: _captions, CAPTIONER: _captioner}[kind](directory)
    document = {"kind": kind, "path": storage.absolute(directory), **content}
    if options.json:
        print(json.dumps(document, indent=1))
    else:
        for line in readable(document):
            print(line)
    return document


def readable(document: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A document -> lines of `name  value`; nested documents and tables follow their name, indented."""
    width = max(map(len, document), default=0)
    for name, value in document.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from readable(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{name}"
            yield from _table(value, indent + "  ")
        elif isinstance(value, list) and any(" " in str(part) for part in value):
            yield f"{indent}{name}"
            yield from (f"{indent}  {part}" for part in value)
        else:
            yield f"{indent}{name:<{width}}  {_text(value)}"


def _table(rows: list[dict[str, Any]], indent: str) -> Iterator[str]:
    """Rows with the same names -> a line of names and a line for each of the first rows, in columns."""
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows[:ROWS_SHOWN])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield f"{indent}{'  '.join(padded)}".rstrip()
    if len(rows) > ROWS_SHOWN:
        yield f"{indent}... and {len(rows) - ROWS_SHOWN:,} more"


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
    require_ledgers(features)
    size = sum(shard.size_bytes for shard in features.shards)
    tail = storage.list_directory(features.path).get(TAIL, 0)
    return {
        "schema_version": SCHEMA_VERSION,
        "encoder": {"id": features.encoder.id, **asdict(features.encoder)},
        "pictures": features.records,
        "captions": features.captions,
        "augmented_views": features.augment,
        "size_bytes": size,
        "bytes_per_picture": size // features.records,
        "encoder_tail_bytes": tail,
        "totals": features.totals,
        "notes": {kind: len(texts) for kind, texts in features.notes.items()},
        "shards": [asdict(shard) for shard in features.shards],
        "unlisted_files": unlisted_files(features),
    }


def _captions(directory: str) -> dict[str, Any]:
    summary = read_summary(directory, "inspect")
    rows = read_table(directory, WORD)
    top = [row for row in rows if not row["stop_word"]][:TOP_WORDS]
    return {
        **{name: summary[name] for name in ("made_with", "captions", "pictures", "files", "words", "bigrams")},
        "flags": summary["flags"],
        "evidence": summary["evidence"],
        "reference": summary["reference"],
        "totals": summary["totals"],
        "shards": len(counted_shards(directory)),
        "top_words": [{"word": row["word"], "estimate": row["estimate"], "images": row["images"]} for row in top],
    }


def _captioner(directory: str) -> dict[str, Any]:
    config = read_config(directory)
    import numpy as np

    from training.models.captioner import load_captioner

    captioner = load_captioner(directory)
    metrics = read_metrics(directory) and storage.read_document(storage.join(directory, METRICS), dict[str, Any], "")
    sizes = storage.list_directory(directory)
    trained_with = {name: value for name, value in config.trained_with.items() if name != "feature_shards"}
    return {
        "schema_version": CONFIG_SCHEMA_VERSION,
        "model_id": captioner.model_id,
        "size_bytes": sum(size for name, size in sizes.items() if name in OWN_NAMES[CAPTIONER]),
        "model": {name: value for name, value in asdict(config.model).items() if not name.startswith("tail")},
        "encoder_blocks": _encoder_blocks(config),
        "parameters": int(sum(np.prod(variable.shape) for variable in captioner.model.trainable_variables)),
        "vocabulary": len(captioner.vocabulary),
        "min_words": captioner.min_words,
        "max_words": captioner.max_words,
        "encoder": {"id": captioner.encoder.id, **asdict(captioner.encoder)},
        "word_presence_head": captioner.presence is not None,
        "judge": captioner.judge and captioner.judge.id,
        "trained_with": {name: value for name, value in trained_with.items() if value is not None},
        "feature_shards": len(config.trained_with.get("feature_shards", [])),
        "metrics": metrics,
    }


def _encoder_blocks(config: CaptionerConfig) -> dict[str, Any]:
    """Settings of a captioner -> the blocks of the encoder that it holds, between the features and what it looks at."""
    shapes = array_shapes(config.model.tail, config.encoder.feature_shape) if config.model.tail else {}
    return {
        "names": [operation.name for operation in config.model.tail if operation.name],
        "trained": bool(shapes) and config.trained_with.get("tail", NO_TAIL) != NO_TAIL,
        "parameters": sum(map(math.prod, shapes.values())),
        "precision": config.model.tail_precision if shapes else None,
    }


def _picture(directory: str, kind: str, name: str) -> dict[str, Any]:
    if kind == CAPTIONER:
        raise UserError(f"{directory}: a captioner contains no pictures; give a feature set or captions")
    if kind == CAPTIONS:
        committed, counted_before = tuple(sound_shards(directory)), []
    else:
        manifest = read_manifest(directory)
        require_ledgers(manifest)
        committed = read_ledgers(directory).committed
        listed = [entry.name for entry in manifest.shards] if manifest else []
        counted_before = [shard for one in listed if (shard := parse_shard(one, "features"))]
    lines = sorted(_ledger_lines(directory, committed, name), key=lambda line: line.uri)
    contents = sorted({line.sha256 for line in lines})
    if not lines and (lost := lost_shards(directory, counted_before)):
        path = storage.join(directory, lost[0].ledger())
        raise UserError(
            f"{path}: is missing, and no other ledger lists {name}; run the same captionbeam extract command again, "
            "which makes its shard again"
        )
    if not lines:
        raise UserError(f"{directory}: no ledger lists {name}; give a file name, a whole address or a sha256")
    if len(contents) > 1:
        examples = ", ".join(line.uri for line in lines[:3])
        raise UserError(
            f"{directory}: {name} stands for {counted(len(contents), 'picture')} ({examples}, ...); give a whole "
            "address or sha256"
        )
    files = [
        {"uri": line.uri, "outcome": line.outcome, "reason": f"{line.stage} {line.reason}".strip()} for line in lines
    ]
    picture: dict[str, Any] = {"sha256": contents[0], "files": files}
    if all(line.outcome == REJECTED for line in lines):
        return picture
    read = _read_feature if kind == FEATURES else _read_caption
    # Its content decides the shard that it is in: one of each run.
    shards = [shard for shard in committed if content_part(contents[0], shard.count) == shard.index]
    for shard in shards:
        if stored := read(directory, shard, contents[0]):
            return picture | stored
    names = " or ".join(shard.features() if kind == FEATURES else shard.captions() for shard in shards)
    raise UserError(f"{directory}: {contents[0]} is in a ledger but not in {names}; run captionbeam verify {directory}")


def _ledger_lines(directory: str, committed: tuple[ShardId, ...], name: str) -> Iterator[LedgerLine]:
    """The newest ledger line of each file that a name, an address or the beginning of a sha256 stands for."""
    newest: dict[str, LedgerLine] = {}
    for shard in committed:
        for line in read_ledger(storage.join(directory, shard.ledger())):
            by_content = _SHA256.fullmatch(name) and line.sha256.startswith(name)
            if by_content or name in (line.uri, os.path.basename(line.uri)):
                newest[line.uri] = line
    return iter(newest.values())


def _read_feature(directory: str, shard: ShardId, sha256: str) -> dict[str, Any] | None:
    """What a shard of features stores of a picture; None if the picture is not in it."""
    import numpy as np

    from beam_pipeline.shards.feature_shard import read_feature_shard

    for record in read_feature_shard(storage.join(directory, shard.features())):
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
                "augmented_views": 0 if record.views is None else len(record.views),
                "captions": list(record.captions),
            }
    return None


def _read_caption(directory: str, shard: ShardId, sha256: str) -> dict[str, Any] | None:
    """What a shard of captions stores of a picture; None if the picture is not in it."""
    for picture in read_captions(shard, directory):
        if picture.sha256 == sha256:
            row = picture.to_json()
            evidence = row.pop("evidence", None)
            return {"shard": shard.captions(), **row, "has_evidence": evidence is not None}
    return None
