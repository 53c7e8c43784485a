"""Pipeline 2: images or features -> a caption for every distinct picture, a ledger, and word importance.

From images: list -> minus ledger -> fingerprint -> distinct pictures -> shards -> encode and caption.
From features: feature shards -> minus ledger -> caption. In both cases then:
word statistics of every shard -> totals -> tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PCollection

from beam_pipeline import storage
from beam_pipeline.captioned_shard import DECODER_BATCH, caption_features, write_words
from beam_pipeline.collection import resolve_source
from beam_pipeline.encoder import Encoder, EncoderSpec, load_encoder, resolve_encoder
from beam_pipeline.isolated_decoding import DEFAULT_DECODING, Decoding
from beam_pipeline.ledger import DONE, LedgerLine, read_ledger
from beam_pipeline.once_per_process import OncePerProcess
from beam_pipeline.outputs import COUNTS
from beam_pipeline.planning import Picture, PlanShards, ShardKey, shard_key
from beam_pipeline.reading import encode_pictures
from beam_pipeline.reference import SUMMARY, TABLES
from beam_pipeline.runs import (
    GatherResults,
    balance_in_words,
    check_balance,
    commit_shard,
    count_outcomes,
    exclusive,
    run_pipeline,
    standing,
    write_rejected,
)
from beam_pipeline.sharding import ShardId, parse_shard
from beam_pipeline.terms import WORD
from beam_pipeline.word_importance import CountWords, ledger_of_shard
from beam_pipeline.word_outputs import ResultWriter
from training.captioner import Captioner, load_captioner, member_paths
from training.decoding import CaptionDecoder
from training.errors import JobFailed, UserError
from training.feature_records import deserialize
from training.feature_set import REPAIR, load_feature_set
from training.guidance import effective_guidance

WORDS = f"{TABLES[WORD]}.csv"


@dataclass(frozen=True)
class CaptionOptions:
    """Settings of `captionbeam caption`; exactly one of images and features is given.

    Attributes:
      captioner: directory that `captionbeam train` made, or several separated by commas: an ensemble.
      output: directory for captions, ledger and word importance.
      images: folder, pattern, archive or list.
      features: feature set.
      beam_width: hypotheses kept while decoding.
      min_words: words of a caption at least; None for the captioner's own.
      guidance: weight of the word-presence head beside the decoder; None for `guidance.GUIDANCE`.
      alternatives: captions beside the best one, fewer than `beam_width`.
      reference: captions directory of the same captioner to compare words with; None for the training captions.
      weights: encoder weights, where they lie elsewhere than when the features were extracted.
      shard_size: pictures a shard, on average at most (images only).
      decoding, max_reject_rate, retry_rejected, remote_lists: as for extract.
    """

    captioner: str
    output: str
    images: str | None = None
    features: str | None = None
    beam_width: int = 3
    min_words: int | None = None
    guidance: float | None = None
    alternatives: int = 0
    reference: str | None = None
    weights: str | None = None
    shard_size: int = 512
    decoding: Decoding = DEFAULT_DECODING
    max_reject_rate: float = 0.10
    retry_rejected: bool = False
    remote_lists: bool = False


@dataclass(frozen=True)
class DecoderSpec:
    """How a worker makes the caption decoder; picklable."""

    captioner: str
    beam_width: int
    min_words: int
    guidance: float
    alternatives: int

    def load(self) -> CaptionDecoder:
        captioner = load_captioner(self.captioner)
        evidence = captioner.presence is not None  # without a head a picture's evidence is its caption
        return CaptionDecoder(
            captioner,
            self.beam_width,
            DECODER_BATCH,
            self.alternatives,
            self.min_words,
            self.guidance,
            evidence,
        )


def caption(
    options: CaptionOptions, beam_options: PipelineOptions, load: Callable[[EncoderSpec], Encoder] = load_encoder
) -> dict[str, Any]:
    """Runs the pipeline; what the output already holds is not done again. Returns the content of `summary.json`.

    Args:
      load: makes the encoder on a worker.

    Raises:
      UserError: a wrong option, found before anything is written.
      JobFailed: the job could not end well; what worked is kept.
    """
    if bool(options.images) == bool(options.features):
        raise UserError("caption: give either --images or --features")
    if options.alternatives >= options.beam_width:
        raise UserError(
            f"--alternatives {options.alternatives}: a search of --beam-width {options.beam_width} ends with "
            f"{options.beam_width - 1} beside the best caption at most; raise --beam-width"
        )
    storage.use_options(beam_options)
    captioner = load_captioner(options.captioner)
    decoder = decoder_of_captioner(
        captioner, options.captioner, options.beam_width, options.min_words, options.guidance, options.alternatives
    )
    output = storage.absolute(options.output)
    made_with = {
        "model_id": captioner.model_id,
        "encoder_id": captioner.encoder.id,
        "beam_width": decoder.beam_width,
        "min_words": decoder.min_words,
        "guidance": decoder.guidance,
        "alternatives": decoder.alternatives,
        "source": "images" if options.images else "features",
    }
    _refuse_another_model(output, made_with)
    reference = None if options.reference is None else storage.absolute(options.reference)
    writer = ResultWriter(output, member_paths(decoder.captioner)[0], reference, made_with)
    writer.load_reference()  # a wrong one is better found before the job than after it
    from_source = (
        _from_images(options, captioner, decoder, load)
        if options.images
        else _from_features(options, captioner, decoder)
    )
    with exclusive(output):
        state = standing(output)
        writer.begin()

        def build(pipeline: beam.Pipeline) -> None:
            made = from_source(pipeline, output, state)
            earlier = pipeline | "EarlierShards" >> beam.Create([shard_key(shard) for shard in state.committed])
            shards = (earlier, made.shards) | "EveryShard" >> beam.Flatten() | "SpreadShards" >> beam.Reshuffle()
            words = shards | "CountWords" >> CountWords(output)
            (
                pipeline
                | GatherResults(words.main, [*made.counts, words[COUNTS]], made.notes)
                | "WriteResults" >> beam.Map(writer.write)
            )

        run_pipeline(build, beam_options)
        rejected_list = write_rejected(output)
    summary = json.loads(storage.read_bytes(storage.join(output, SUMMARY)))
    print(balance_in_words(summary["totals"]))
    print(f"{output}: {summary['captions']} captions, {summary['words']} content words in {WORDS}")
    if options.features and summary["captions"] != load_feature_set(options.features).records:
        raise JobFailed(
            f"{output}: {summary['captions']} captions, another number than {options.features} has pictures; run again"
        )
    check_balance(summary["totals"], options.max_reject_rate, rejected_list)
    return summary


def _refuse_another_model(output: str, made_with: dict[str, Any]) -> None:
    path = storage.join(output, SUMMARY)
    if not storage.exists(path):
        return
    there = json.loads(storage.read_bytes(path))["made_with"]
    for name, value in made_with.items():
        if there.get(name) != value:
            raise UserError(
                f"--output {output}: holds captions made with {name} {there.get(name)}, this run has {value}; "
                "choose another --output"
            )


@dataclass(frozen=True)
class MadeShards:
    """Keys of the shards that this run captions, and its counts and notes."""

    shards: PCollection
    counts: list[PCollection]
    notes: list[PCollection]


def decoder_of_captioner(
    captioner: Captioner,
    path: str,
    beam_width: int,
    min_words: int | None,
    guidance: float | None,
    alternatives: int = 0,
) -> DecoderSpec:
    """How workers decode with a captioner: paths made absolute, and its own settings where None is asked for.

    Args:
      path: the captioner's directory, or several.
    """
    return DecoderSpec(
        ",".join(map(storage.absolute, member_paths(path))),
        beam_width,
        min_words or captioner.min_words,
        effective_guidance(captioner, guidance),
        alternatives,
    )


# From images.


def encoder_of_captioner(captioner: Captioner, path: str, weights: str | None) -> EncoderSpec:
    """The encoder that a captioner was trained with.

    Args:
      path: the captioner's directory, or several.
      weights: where they lie elsewhere than then, else None.

    Raises:
      UserError: its weights or its engine cannot be had, or its weights are others.
    """
    wanted = captioner.encoder

    def no_sample() -> np.ndarray:
        raise UserError(f"--captioner {path}: the statistics of its random encoder weights are missing; train it again")

    spec = resolve_encoder(
        weights or wanted.weights,
        wanted.feature_kind,
        wanted.layer,
        wanted.precision,
        storage.absolute(member_paths(path)[0]),
        no_sample,
        wanted.engine,
    )
    captioner.require_encoder(spec.identity)
    return spec


def _from_images(options: CaptionOptions, captioner: Captioner, decoder: DecoderSpec, load):
    assert options.images
    source = resolve_source(options.images, options.remote_lists)
    spec = encoder_of_captioner(captioner, options.captioner, options.weights)

    def made(pipeline: beam.Pipeline, output: str, state) -> MadeShards:
        plan = pipeline | "PlanShards" >> PlanShards(
            source,
            list(state.ledgers),
            list(state.unfinished),
            state.next_run,
            options.shard_size,
            options.decoding.max_bytes,
            retry_rejected=options.retry_rejected,
        )
        captioned = plan.shards | "CaptionShards" >> CaptionShards(spec, decoder, output, options.decoding, load)
        return MadeShards(captioned.main, [*plan.counts, captioned[COUNTS]], plan.notes)

    return made


class CaptionShards(beam.PTransform):
    """(ShardKey, pictures) -> ShardKey, its captions and then its ledger written; counts every outcome."""

    def __init__(self, encoder: EncoderSpec, decoder: DecoderSpec, output: str, decoding: Decoding, load):
        super().__init__()
        self.settings = (encoder, decoder, output, decoding, load)

    def expand(self, shards):
        return shards | "CaptionShard" >> beam.ParDo(CaptionShard(*self.settings)).with_outputs(COUNTS, main="main")


class CaptionShard(beam.DoFn):
    """One call makes one shard; encoder and captioner are loaded once per process."""

    def __init__(self, encoder: EncoderSpec, decoder: DecoderSpec, output: str, decoding: Decoding, load):
        self.encoder = OncePerProcess(partial(load, encoder), encoder.identity.id)
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.output = output
        self.decoding = decoding

    def process(self, element: tuple[ShardKey, Iterable[Picture]]):
        key, pictures = element
        lines = caption_pictures(ShardId(*key), pictures, self.encoder, self.decoder, self.output, self.decoding)
        yield from count_outcomes(lines)
        yield key


def caption_pictures(
    shard: ShardId,
    pictures: Iterable[Picture],
    encoder: Callable[[], Encoder],
    decoder: Callable[[], CaptionDecoder],
    output: str,
    decoding: Decoding,
) -> list[LedgerLine]:
    """Encodes and captions a shard's pictures in sha256 order, writes captions, then ledger -> the ledger's lines."""
    lines: list[LedgerLine] = []

    def features() -> Iterator[tuple[str, str, np.ndarray]]:
        for encoded in encode_pictures(sorted(pictures, key=lambda picture: picture.sha256), encoder, decoding):
            lines.extend(encoded.read.lines)
            if encoded.feature is not None:
                uri = next(line.uri for line in encoded.read.lines if line.outcome == DONE)
                yield encoded.read.picture.sha256, uri, encoded.feature

    captioned = caption_features(shard, features(), decoder, output)
    write_words(shard, captioned, lines, output)
    commit_shard(output, shard, lines)
    return lines


# From features.


def _from_features(options: CaptionOptions, captioner: Captioner, decoder: DecoderSpec):
    assert options.features
    features = load_feature_set(options.features)
    captioner.require_encoder(features.encoder)
    features.shard_paths()  # a damaged shard is better found before the job than in it

    def made(pipeline: beam.Pipeline, output: str, state) -> MadeShards:
        present = [shard for entry in features.shards if (shard := parse_shard(entry.name, "features"))]
        missing = [shard_key(shard) for shard in present if shard not in set(state.committed)]
        shards = (
            pipeline
            | "FeatureShards" >> beam.Create(missing)
            | "SpreadFeatures" >> beam.Reshuffle()
            | "CaptionFeatures" >> beam.ParDo(CaptionFeatures(decoder, features.path, output))
        )
        old = pipeline | "OldShards" >> beam.Create([shard_key(shard) for shard in state.committed])
        lines = (
            (
                old | "OldOrNot" >> beam.Map(lambda key: (key, False)),
                shards | "NewOrNot" >> beam.Map(lambda key: (key, True)),
            )
            | "KnownShards" >> beam.Flatten()
            | "LinesOfShard" >> beam.FlatMap(lines_of_shard, output)
            | "GroupLinesByUri" >> beam.GroupByKey()
            | "CountLastLine" >> beam.FlatMap(count_last_line)
        )
        return MadeShards(shards, [lines], [pipeline | "NoNotes" >> beam.Create([])])

    return made


class CaptionFeatures(beam.DoFn):
    """ShardKey of a feature shard -> the same, its captions written and its ledger copied."""

    def __init__(self, decoder: DecoderSpec, features: str, output: str):
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.features = features
        self.output = output

    def process(self, key: ShardKey):
        shard = ShardId(*key)
        features = read_features(storage.join(self.features, shard.features()))
        captioned = caption_features(shard, features, self.decoder, self.output)
        ledger = storage.join(self.features, shard.ledger())
        write_words(shard, captioned, read_ledger(ledger), self.output)
        storage.write_atomic(storage.join(self.output, shard.ledger()), storage.read_bytes(ledger))
        yield key


def read_features(path: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Feature shard -> (sha256, uri, feature) of its pictures; none where a shard of no picture has no file.

    Raises:
      JobFailed: the shard is damaged.
    """
    if not storage.exists(path):
        return
    with storage.local_copy(path) as local:
        try:
            for serialized in tf.data.TFRecordDataset(local):
                record = deserialize(serialized.numpy())
                yield record.sha256, record.uris[0], record.feature
        except tf.errors.DataLossError as error:
            raise JobFailed(f"{path}: damaged shard; {REPAIR}") from error


def lines_of_shard(keyed: tuple[ShardKey, bool], output: str) -> Iterator[tuple[bytes, tuple[str, bool, str]]]:
    """(ShardKey, made in this run) -> (uri, (ledger name, made in this run, outcome)) of its ledger lines."""
    key, new = keyed
    for uri, (name, line) in ledger_of_shard(key, output):
        yield uri, (name, new, line.outcome)


def count_last_line(group: tuple[bytes, Iterable[tuple[str, bool, str]]]) -> Iterator[tuple[str, int]]:
    """Ledger lines of one uri -> its counts; the newest run has the last word."""
    _, lines = group
    _, new, outcome = max(lines)
    yield "listed", 1
    yield (outcome if new else f"earlier_{outcome}"), 1
