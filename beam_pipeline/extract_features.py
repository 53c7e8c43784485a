"""Pipeline 1: images -> sharded TFRecords of InceptionV3 features, a ledger, and a manifest.

list -> join captions -> minus ledger -> fingerprint -> distinct pictures -> shards -> encode -> manifest
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.encoders.base import Encoder, EncoderRequest, EncoderSpec
from beam_pipeline.encoders.int8 import int8_spec
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder
from beam_pipeline.inputs.sources import Source, resolve_source
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import COUNTS
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.runtime.runner import run_pipeline
from beam_pipeline.shards.balance import add_up, balance_in_words, check_balance, count_outcomes, write_rejected
from beam_pipeline.shards.encoding import EncodedPicture, encode_pictures, sample_pixels
from beam_pipeline.shards.ledger import REJECTED, LedgerLine
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.manifest import read_manifest, summarize_shard, take_stock, write_manifest
from beam_pipeline.shards.overlap import ENCODING, MakesShards
from beam_pipeline.shards.planning import Picture, PlanShards, ShardKey
from beam_pipeline.shards.progress import ProgressDisplay
from beam_pipeline.shards.run import GatherResults, Results, commit_shard, exclusive
from beam_pipeline.shards.shard_id import ShardId
from training.data.caption_files import read_captions
from training.data.feature_records import FeatureRecord, serialize
from training.data.feature_set import INT8_ENCODER, EncoderIdentity, FeatureSet, Shard
from training.errors import UserError

log = logging.getLogger("captionbeam")


def extract(
    options: ExtractOptions, beam_options: PipelineOptions, load: Callable[[EncoderSpec], Encoder] = load_encoder
) -> FeatureSet:
    """Runs the pipeline; what the output already holds is not done again.

    Args:
      load: makes the encoder on a worker; another engine, or a stub where only the pipeline is of interest.

    Raises:
      UserError: a wrong option, found before anything is written.
      JobFailed: the job could not end well; what worked is kept.
    """
    storage.use_options(beam_options)
    source = resolve_source(options.images, options.remote_lists)
    captions = read_captions(options.captions) if options.captions else None
    output = storage.absolute(options.output)
    earlier = earlier_features(options, output)
    with exclusive(output):
        spec = _keep_encoder(encoder_of_options(options, source, earlier, output), output)
        state, kept, unlisted = take_stock(output, earlier, captions is not None or source.may_hold_captions)
        write_manifest(
            output, FeatureSet(output, spec.identity, tuple(kept), options.augment)
        )  # from now on it refuses another encoder
        log.info("encoder %s", spec.identity)
        limits = replace(options.decode_limits, views=options.augment)
        progress = ProgressDisplay("extract", output, state.committed)
        if captions and state.committed:
            log.info("pictures of earlier runs keep the captions that were stored with them")
        if earlier and earlier.captions and not captions and not source.may_hold_captions:
            log.info("no --captions given: new pictures are stored without any, unlike those of earlier runs")

        def build(pipeline: beam.Pipeline) -> None:
            plan = pipeline | "PlanShards" >> PlanShards(
                source,
                list(state.ledgers),
                list(state.unfinished),
                state.next_run,
                options.shard_size,
                options.decode_limits.max_bytes,
                captions,
                options.retry_rejected,
                progress.live_counts,
            )
            encode = EncodeShards(spec, output, limits, load, progress.live_counts)
            encoded = plan.shards | "EncodeShards" >> encode
            adopted = (
                pipeline
                | "UnlistedShards" >> beam.Create(unlisted)
                | "SummarizeShards" >> beam.Map(summarize_shard, output)
            )
            shards = (encoded.main, adopted) | "AllShards" >> beam.Flatten()
            (
                pipeline
                | GatherResults(shards, [*plan.counts, encoded[COUNTS]], plan.notes)
                | "WriteManifest" >> beam.Map(finish_manifest, output, spec.identity, kept, options.augment)
            )

        with progress:
            run_pipeline(build, beam_options, output)
    result = read_manifest(output)
    assert result is not None
    rejected_list = write_rejected(output)
    print(balance_in_words(result.totals))
    shards = len(result.shards)
    print(f"{output}: {result.records} pictures in {shards} shard{'s' * (shards != 1)}, {result.captions} captions")
    check_balance(result.totals, options.max_reject_rate, rejected_list)
    return result


def earlier_features(options: ExtractOptions, output: str) -> FeatureSet | None:
    """What the output holds already; None for nothing.

    Raises:
      UserError: it was made with other options than these.
    """
    earlier = read_manifest(output)
    # Else a second encoder would be fitted to the collection first, and lie there.
    if earlier and (options.precision == "int8") != (earlier.encoder.precision == "int8"):
        raise _other_encoder(output, earlier.encoder, f"--precision {options.precision}")
    is_random = earlier is not None and earlier.encoder.weights == "random"
    if earlier and earlier.encoder.precision != "int8" and (options.weights == "random") != is_random:
        raise _other_encoder(output, earlier.encoder, f"--weights {options.weights}")
    if earlier and earlier.augment != options.augment:
        raise UserError(
            f"--output {output}: holds {earlier.augment} further views of each picture; choose another --output, "
            f"or --augment {earlier.augment}"
        )
    return earlier


def encoder_of_options(
    options: ExtractOptions, source: Source, earlier: FeatureSet | None, directory: str
) -> EncoderSpec:
    """The encoder that is asked for.

    Args:
      directory: has the statistics of random weights and the quantized graph, or gets them.

    Raises:
      UserError: it cannot be had, or is not the one that the output was made with.
    """

    def sample() -> np.ndarray:
        if earlier and earlier.encoder.precision == "int8":
            int8_spec(storage.join(earlier.path, INT8_ENCODER))  # another one would not be the same
        return sample_pixels(source, options.decode_limits)

    request = EncoderRequest(options.weights, options.feature_kind, options.layer, options.precision, options.engine)
    spec = resolve_encoder(request, directory, sample)
    if earlier and earlier.encoder.id != spec.identity.id:
        raise _other_encoder(earlier.path, earlier.encoder, str(spec.identity))
    return spec


def _keep_encoder(spec: EncoderSpec, output: str) -> EncoderSpec:
    """A graph that was quantized elsewhere lies with the features too: captioners get it from there."""
    path = storage.join(output, INT8_ENCODER)
    if spec.identity.precision != "int8" or spec.weights_path == path:
        return spec
    storage.write_atomic(path, storage.read_bytes(spec.weights_path))
    return replace(spec, weights_path=path)


def _other_encoder(output: str, there: EncoderIdentity, asked: str) -> UserError:
    return UserError(
        f"--output {output}: holds features of {there}, and this run would add those of {asked}; "
        "choose another --output, or the weights, layer, kind, engine and precision that it was made with"
    )


class EncodeShards(beam.PTransform):
    """(ShardKey, pictures) -> Shard each, its features and then its ledger written; counts every outcome."""

    def __init__(
        self,
        spec: EncoderSpec,
        output: str,
        limits: DecodeLimits,
        load: Callable[[EncoderSpec], Encoder],
        live_counts: LiveCounts,
    ):
        super().__init__()
        self.settings = (spec, output, limits, load, live_counts)

    def expand(self, shards):
        return shards | "EncodeShard" >> beam.ParDo(EncodeShard(*self.settings)).with_outputs(COUNTS, main="main")


class EncodeShard(MakesShards):
    """(ShardKey, pictures) -> Shard, and its counts; the encoder is loaded once per process."""

    def __init__(
        self,
        spec: EncoderSpec,
        output: str,
        limits: DecodeLimits,
        load: Callable[[EncoderSpec], Encoder],
        live_counts: LiveCounts,
    ):
        self.encoder = OncePerProcess(partial(load, spec), spec.identity.id)
        self.output = output
        self.limits = limits
        self.live_counts = live_counts

    def make(self, element: tuple[ShardKey, Iterable[Picture]]) -> tuple[Shard, list[LedgerLine]]:
        key, pictures = element
        return encode_shard(ShardId(*key), pictures, self.encoder, self.output, self.limits, self.live_counts)

    def outputs(self, made: tuple[Shard, list[LedgerLine]]) -> Iterator[Any]:
        shard, lines = made
        yield from count_outcomes(lines)
        yield shard


def encode_shard(
    shard: ShardId,
    pictures: Iterable[Picture],
    encoder: Callable[[], Encoder],
    output: str,
    limits: DecodeLimits,
    live_counts: LiveCounts,
) -> tuple[Shard, list[LedgerLine]]:
    """Encodes a shard's pictures in sha256 order into its TFRecord file, then commits it with its ledger.

    Args:
      encoder: gives the Encoder; not called when there is nothing to encode.
    """
    work = sorted(pictures, key=lambda picture: picture.sha256)
    path = storage.join(output, shard.features())
    lines: list[LedgerLine] = []
    records = captions = size_bytes = 0
    digest = ""
    with storage.new_file(path) as local:
        with tf.io.TFRecordWriter(local) as writer, ENCODING:
            for encoded in encode_pictures(work, encoder, limits):
                lines += encoded.read.lines
                live_counts.add_lines(encoded.read.lines)
                if encoded.feature is not None:
                    writer.write(serialize(feature_record(encoded)))
                    records += 1
                    captions += len(encoded.read.picture.captions)
        size_bytes, digest = os.path.getsize(local), storage.sha256(local)
    if not records:
        storage.remove(path)
        size_bytes, digest = 0, ""
    commit_shard(output, shard, lines)
    live_counts.add(SHARDS)
    return Shard(shard.features(), records, captions, size_bytes, digest), lines


def feature_record(encoded: EncodedPicture) -> FeatureRecord:
    """What the feature set keeps of a picture: every place where it could be read, and what people wrote of it."""
    image, picture = encoded.read.image, encoded.read.picture
    assert image is not None and encoded.feature is not None
    return FeatureRecord(
        sha256=picture.sha256,
        uris=tuple(line.uri for line in encoded.read.lines if line.outcome != REJECTED),
        width=image.width,
        height=image.height,
        feature=encoded.feature,
        captions=picture.captions,
        views=encoded.views,
    )


def finish_manifest(results: Results, output: str, identity: EncoderIdentity, kept: list[Shard], augment: int) -> None:
    """Writes the manifest of everything that the output now holds."""
    shards = tuple(sorted([*kept, *results.shards], key=lambda shard: shard.name))
    write_manifest(output, FeatureSet(output, identity, shards, augment, add_up(results.counts), results.notes))
