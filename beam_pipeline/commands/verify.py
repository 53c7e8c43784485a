"""`captionbeam verify DIR`: whether a feature set or captions are what they say, and what the pictures still give.

All files are checked against checksums and ledgers; a sample of pictures, drawn by the hash of their content, is
computed anew and compared with what is stored.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from beam_pipeline.caption_features import read_features
from beam_pipeline.captions.decoder import decoder_of_captioner, encoder_of_captioner
from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.captions.shard import DECODER_BATCH, captioned
from beam_pipeline.commands.directories import CAPTIONS, FEATURES, kind_of
from beam_pipeline.encoders.base import ENCODER_BATCH, Encoder, EncoderSpec
from beam_pipeline.encoders.registry import load_encoder, resolve_identity
from beam_pipeline.images.decode import UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.directories import VerifyOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.threads import batched
from beam_pipeline.shards.encoding import READING_THREADS, encode_pixels
from beam_pipeline.shards.ledger import DONE, OUTCOMES, read_ledger
from beam_pipeline.shards.shard_id import ShardId, committed_shards, parse_shard
from beam_pipeline.words.summary import read_summary
from training.data.feature_records import FeatureRecord, deserialize
from training.data.feature_set import FEATURE_DTYPE, REPAIR, FeatureSet, load_feature_set
from training.errors import JobFailed, UserError
from training.models.captioner import load_captioner

LEAST_COSINE = 0.999  # another processor rounds otherwise; another picture or encoder is far below
SHOWN = 20  # problems that are printed

Pixels = np.ndarray  # uint8 [1 + V, 299, 299, 3] of one picture and its views


@dataclass
class Findings:
    """What was found.

    Attributes:
      problems: what is wrong, a line each.
      compared: pictures computed anew.
      identical: of them, those that came out the same to the last bit.
      gone: sampled pictures none of whose files can be read as it was.
    """

    problems: list[str] = field(default_factory=list)
    compared: int = 0
    identical: int = 0
    gone: int = 0


def verify(options: VerifyOptions, load: Callable[[EncoderSpec], Encoder] = load_encoder) -> Findings:
    """Checks a directory and prints one line of result, and one for each problem; writes nothing.

    Args:
      load: makes the encoder.

    Raises:
      UserError: it is no finished directory, or what is needed to compute pictures anew is not given.
      JobFailed: something is wrong.
    """
    kind = kind_of(options.directory)
    if kind == FEATURES:
        whole, findings = _verify_features(options, load)
    elif kind == CAPTIONS:
        whole, findings = _verify_captions(options, load)
    else:
        raise UserError(f"{options.directory}: a {kind} is not verified; give a feature set or captions")
    for problem in findings.problems[:SHOWN]:
        print(problem)
    if len(findings.problems) > SHOWN:
        print(f"... and {len(findings.problems) - SHOWN} more")
    computed = f"{findings.compared} pictures computed anew, {findings.identical} of them the same to the last bit"
    if findings.gone:
        computed += f"; {findings.gone} more could not be, their files are gone or have changed"
    result = f"{options.directory}: {whole}; {computed}"
    if findings.problems:
        raise JobFailed(f"{result}; {len(findings.problems)} problems")
    print(f"{result}; nothing is wrong")
    return findings


def draw(contents: Collection[str], sample: float | int) -> set[str]:
    """Hex digests -> those in the sample, by a hash of their own: the same ones in every order and on every machine.

    Of a share above 0 at least one.
    """

    def place(sha256: str) -> float:
        return int.from_bytes(hashlib.sha256(f"verify {sha256}".encode()).digest()[:8], "big") / 2.0**64

    if isinstance(sample, int):
        return set(heapq.nsmallest(sample, contents, key=place))
    return {sha256 for sha256 in contents if place(sha256) < sample} or draw(contents, int(sample > 0))


def _done(directory: str, shards: Iterable[ShardId]) -> Iterator[str]:
    """Contents that the ledgers call done; one may come more than once."""
    for shard in shards:
        for line in read_ledger(storage.join(directory, shard.ledger())):
            if line.outcome == DONE:
                yield line.sha256


def _balance(directory: str, totals: dict[str, int]) -> Iterator[str]:
    accounted = sum(totals.get(outcome, 0) for outcome in OUTCOMES)
    if totals.get("listed", 0) != accounted:
        yield f"{directory}: the ledger does not balance: {totals.get('listed', 0)} listed, {accounted} accounted for"


def _match_ledger(path: str, found: Sequence[str], done: set[str]) -> Iterator[str]:
    """Problems of a shard's pictures against its ledger."""
    if len(set(found)) != len(found):
        yield f"{path}: holds {len(found) - len(set(found))} pictures twice"
    for sha256 in sorted(set(found) - done):
        yield f"{path}: holds {sha256}, which its ledger does not call done"


# Features.


def _verify_features(options: VerifyOptions, load) -> tuple[str, Findings]:
    features = load_feature_set(options.directory)
    committed = committed_shards(storage.list_directory(features.path))
    findings = Findings(list(_balance(features.path, features.totals)))
    listed = {shard for entry in features.shards if (shard := parse_shard(entry.name, "features"))}
    for shard in sorted(set(committed) ^ listed):
        lacks = "the manifest does not name it" if shard in committed else f"{shard.ledger()} is missing"
        findings.problems.append(f"{storage.join(features.path, shard.features())}: {lacks}; {REPAIR}")
    done = set(_done(features.path, committed))
    drawn = draw(done, options.sample)
    encoder = _encoder_of(features, options.weights, load) if drawn else None
    records = 0
    for shard in sorted(set(committed) & listed):
        sampled = []
        found = []
        try:
            _check_file(features, shard)
            for record in _records(features.path, shard):
                found.append(record.sha256)
                if record.sha256 in drawn:
                    sampled.append(record)
        except JobFailed as error:
            findings.problems.append(str(error))
            continue
        own = set(_done(features.path, [shard]))
        path = storage.join(features.path, shard.features())
        findings.problems += _match_ledger(path, found, own)
        records += len(found)
        if encoder:
            _compare_features(sampled, encoder, replace(options.decode_limits, views=features.augment), findings)
    if not findings.problems and records != len(done):
        findings.problems.append(f"{features.path}: {records} pictures in shards, {len(done)} done by the ledgers")
    return f"{len(listed)} shard{'s' * (len(listed) != 1)} with {records} pictures", findings


def _check_file(features: FeatureSet, shard: ShardId) -> None:
    """Raises JobFailed where a shard's file is not what the manifest says."""
    (entry,) = (entry for entry in features.shards if entry.name == shard.features())
    path = storage.join(features.path, entry.name)
    there = storage.exists(path)
    if not entry.records and not there:
        return
    if not there:
        raise JobFailed(f"{path}: is missing; {REPAIR}")
    if storage.sha256(path) != entry.sha256:
        raise JobFailed(f"{path}: its checksum is not that of the manifest; remove it, and {REPAIR}")


def _records(directory: str, shard: ShardId) -> Iterator[FeatureRecord]:
    path = storage.join(directory, shard.features())
    if storage.exists(path):
        with storage.local_copy(path) as local:
            for serialized in tf.data.TFRecordDataset(local):
                yield deserialize(serialized.numpy())


def _encoder_of(features: FeatureSet, weights: str | None, load) -> Encoder:
    wanted = features.encoder
    missing = f"{features.path}: the statistics of its random encoder weights are missing"
    spec = resolve_identity(wanted, weights, features.path, missing)
    if spec.identity.id != wanted.id:
        raise UserError(f"{features.path}: made with {wanted}, and --weights would give {spec.identity}")
    return load(spec)


def _compare_features(
    records: Iterable[FeatureRecord], encoder: Encoder, limits: DecodeLimits, findings: Findings
) -> None:
    for batch in batched(records, ENCODER_BATCH):
        pictures = [
            (record, pixels)
            for record in batch
            if (pixels := _pixels(record.uris, record.sha256, limits, findings)) is not None
        ]
        again = encode_pixels([view for _, pixels in pictures for view in pixels], lambda: encoder)
        for record, pixels in pictures:
            stored = [record.feature, *(record.views if record.views is not None else ())]
            made = [next(again) for _ in pixels]
            findings.compared += 1
            if len(stored) == len(made) and all(map(np.array_equal, stored, made)):
                findings.identical += 1
                continue
            least = min(map(cosine, stored, made))
            if len(stored) != len(made) or least < LEAST_COSINE:
                findings.problems.append(f"{record.uris[0]}: its stored feature is another one (cosine {least:.4f})")


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    """Of two features, any shape; 1 for two that are nothing, 0 for shapes that differ."""
    a, b = one.astype(np.float64).ravel(), two.astype(np.float64).ravel()
    if a.shape != b.shape:
        return 0.0
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(not a.any() and not b.any())


def _pixels(uris: Iterable[str], sha256: str, limits: DecodeLimits, findings: Findings) -> Pixels | None:
    """The picture from the first of its files that still holds it; None, and counted as gone, where there is none."""
    reader = PictureReader()
    for uri in uris:
        try:
            image = decoder_pool(limits, READING_THREADS).decode(reader.read_unchanged(uri, sha256))
        except (OSError, UnreadableImage):
            continue
        return np.stack([image.pixels, *image.views])
    findings.gone += 1
    return None


# Captions.


def _verify_captions(options: VerifyOptions, load) -> tuple[str, Findings]:
    directory = options.directory
    summary = read_summary(directory, "verify")
    shards = committed_shards(storage.list_directory(directory))
    findings = Findings(list(_balance(directory, summary["totals"])))
    done = set(_done(directory, shards))
    drawn = draw(done, options.sample)
    again = _recaption(options, summary["made_with"], load) if drawn else None
    captions = 0
    for shard in shards:
        path = storage.join(directory, shard.captions())
        try:
            rows = list(read_captions(shard, directory))
        except (OSError, ValueError, KeyError, TypeError) as error:
            findings.problems.append(
                f"{path}: missing or damaged ({error}); remove {shard.ledger()} and run caption again"
            )
            continue
        if not storage.exists(storage.join(directory, shard.words())):
            findings.problems.append(f"{storage.join(directory, shard.words())}: is missing; run caption again")
        captions += len(rows)
        findings.problems += _match_ledger(path, [row.sha256 for row in rows], set(_done(directory, [shard])))
        if again:
            again(shard, [row for row in rows if row.sha256 in drawn], findings)
    if captions != summary["captions"]:
        findings.problems.append(f"{directory}: {captions} captions, {summary['captions']} by its summary")
    if not findings.problems and captions != len(done):
        findings.problems.append(f"{directory}: {captions} captions, {len(done)} pictures done by the ledgers")
    return f"{len(shards)} shard{'s' * (len(shards) != 1)} with {captions} captions", findings


def _recaption(
    options: VerifyOptions, made_with: dict, load
) -> Callable[[ShardId, list[CaptionedPicture], Findings], None]:
    """A function that captions pictures of a shard anew, and compares."""
    from_features = made_with["source"] == "features"
    if options.captioner is None or (from_features and options.features is None):
        raise UserError(
            f"{options.directory}: give --captioner{' and --features' if from_features else ''} to caption a sample "
            "anew, or --sample 0 to check the files alone"
        )
    captioner = load_captioner(options.captioner)
    if captioner.model_id != made_with["model_id"]:
        raise UserError(
            f"--captioner {options.captioner}: is {captioner.model_id}, and the captions are by {made_with['model_id']}"
        )
    settings = (made_with["beam_width"], made_with["min_words"], made_with["guidance"], made_with["alternatives"])
    spec = decoder_of_captioner(captioner, options.captioner, *settings)
    decoder = replace(spec, min_confidence=made_with.get("min_confidence")).load()
    encoder = None
    if not from_features:
        encoder = load(encoder_of_captioner(captioner, options.captioner, options.weights))

    def features_of(
        shard: ShardId, rows: list[CaptionedPicture], findings: Findings
    ) -> Iterator[tuple[CaptionedPicture, np.ndarray]]:
        if encoder is None:
            wanted = {row.sha256: row for row in rows}
            path = storage.join(options.features or "", shard.features())
            for sha256, _, feature in read_features(path) if wanted else ():
                if sha256 in wanted:
                    yield wanted[sha256], feature
            return
        for batch in batched(rows, ENCODER_BATCH):
            pixels = [
                (row, found[0])
                for row in batch
                if (found := _pixels([row.uri], row.sha256, options.decode_limits, findings)) is not None
            ]
            features = encode_pixels([picture for _, picture in pixels], lambda: encoder)
            yield from zip((row for row, _ in pixels), features, strict=True)

    def again(shard: ShardId, rows: list[CaptionedPicture], findings: Findings) -> None:
        for batch in batched(features_of(shard, rows, findings), DECODER_BATCH):
            hypotheses = decoder.decode(np.stack([feature for _, feature in batch]).astype(FEATURE_DTYPE))
            for (row, _), hypothesis in zip(batch, hypotheses, strict=True):
                made = captioned(row.sha256, row.uri, hypothesis)
                findings.compared += 1
                findings.identical += made.to_json() == row.to_json()
                if made.caption != row.caption:
                    findings.problems.append(f'{row.uri}: "{row.caption}" is stored, "{made.caption}" comes out now')

    return again
