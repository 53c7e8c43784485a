"""Whether a feature set is whole, and whether its pictures still give the features that it stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from beam_pipeline.commands.verify_findings import Findings, check_ledger, check_totals, done_contents, draw_sample
from beam_pipeline.commands.verify_pixels import read_pixels
from beam_pipeline.encoders.base import ENCODER_BATCH, Encoder, LoadEncoder
from beam_pipeline.encoders.registry import resolve_identity
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.threads import batched
from beam_pipeline.shards.encoding import encode_pixels
from beam_pipeline.shards.feature_shard import read_feature_shard
from beam_pipeline.shards.manifest import require_ledgers
from beam_pipeline.shards.shard_id import ShardId, committed_shards, parse_shard
from training.data.damage import damaged
from training.data.feature_records import FeatureRecord
from training.data.feature_set import REPAIR, FeatureSet, load_feature_set
from training.errors import JobFailed, UserError
from training.own_names import TAIL
from training.text.plurals import counted

LEAST_COSINE = 0.999  # another processor rounds differently; another picture or encoder is far below


def verify_features(options: VerifyOptions, findings: Findings, load: LoadEncoder) -> str:
    """Checks the files of a feature set, and computes a sample of its features again.

    Args:
      findings: gets what is wrong, and what was compared.
      load: makes the encoder.

    Returns:
      What the feature set contains, in words.

    Raises:
      UserError: there is no finished feature set, or its encoder cannot be had.
    """
    features = load_feature_set(options.directory)
    committed = committed_shards(storage.list_directory(features.path))
    findings.problems += check_totals(features.path, features.totals)
    listed = {shard for entry in features.shards if (shard := parse_shard(entry.name, "features"))}
    for shard in sorted(set(committed) ^ listed):
        lacks = "the manifest does not list it" if shard in committed else f"{shard.ledger()} is missing"
        findings.problems.append(f"{storage.join(features.path, shard.features())}: {lacks}; {REPAIR}")
    findings.problems += _check_tail(features)
    done = set(done_contents(features.path, committed))
    sample = draw_sample(done, options.sample)
    encoder = _encoder_of(features, options.weights, load) if sample else None
    records = 0
    for shard in sorted(set(committed) & listed):
        path = storage.join(features.path, shard.features())
        stored, sampled = [], []
        try:
            _check_file(features, shard)
            require_ledgers(features, shard)
            for record in read_feature_shard(path):
                stored.append(record.sha256)
                if record.sha256 in sample:
                    sampled.append(record)
        except UserError as error:
            findings.problems.append(str(error))
            continue
        findings.problems += check_ledger(path, stored, set(done_contents(features.path, [shard])))
        records += len(stored)
        if encoder:
            _compare(sampled, encoder, replace(options.decode_limits, views=features.augment), findings)
    pictures = counted(records, "picture")
    if not findings.problems and records != len(done):
        findings.problems.append(f"{features.path}: shards with {pictures}, but {len(done):,} done by the ledgers")
    return f"{counted(len(listed), 'shard')} with {pictures}"


def _check_file(features: FeatureSet, shard: ShardId) -> None:
    """Raises JobFailed if a shard's file is not what the manifest says."""
    (entry,) = (entry for entry in features.shards if entry.name == shard.features())
    path = storage.join(features.path, entry.name)
    exists = storage.exists(path)
    if not entry.records and not exists:
        return
    if not exists:
        raise JobFailed(f"{path}: is missing; {REPAIR}")
    if storage.sha256(path) != entry.sha256:
        raise damaged(path, "its checksum is not that of the manifest")


def _check_tail(features: FeatureSet) -> Iterator[str]:
    """Feature set -> a problem if its `encoder_tail.npz` is not what the manifest says."""
    if not features.tail_sha256:
        return
    path = storage.join(features.path, TAIL)
    data = storage.read_own_if_there(path)
    if data is None or hashlib.sha256(data).hexdigest() != features.tail_sha256:
        fault = "is missing" if data is None else "its checksum is not that of the manifest"
        yield f"{path}: {fault}; run the same `captionbeam extract` command again, which makes it again"


def _encoder_of(features: FeatureSet, weights: str | None, load: LoadEncoder) -> Encoder:
    spec = resolve_identity(features.encoder, weights, features.path)
    if spec.identity.id != features.encoder.id:
        raise UserError(f"{features.path}: made with {features.encoder}, but --weights gives {spec.identity}")
    return load(spec)


def _compare(records: Iterable[FeatureRecord], encoder: Encoder, limits: DecodeLimits, findings: Findings) -> None:
    """Computes the features of records again, and adds to the findings which of them differ."""
    for batch in batched(records, ENCODER_BATCH):
        pictures = [
            (record, pixels)
            for record in batch
            if (pixels := read_pixels(record.uris, record.sha256, limits, findings)) is not None
        ]
        computed = encode_pixels([view for _, pixels in pictures for view in pixels], lambda: encoder)
        for record, pixels in pictures:
            stored = [record.feature, *(record.views if record.views is not None else ())]
            now = [next(computed) for _ in pixels]
            findings.compared += 1
            if len(stored) == len(now) and all(map(np.array_equal, stored, now)):
                findings.identical += 1
                continue
            least = min(map(cosine, stored, now))
            if len(stored) != len(now) or least < LEAST_COSINE:
                findings.problems.append(
                    f"{record.uris[0]}: its feature differs from the stored one (cosine {least:.4f})"
                )


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine similarity of two features of any shape: 1 if both are zero, 0 if their shapes differ."""
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    if a.shape != b.shape:
        return 0.0
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(not a.any() and not b.any())
