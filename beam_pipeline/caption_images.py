"""Pipeline 2: images or features -> a caption for every distinct picture, a ledger, and word importance.

From images: list -> minus ledger -> fingerprint -> distinct pictures -> shards -> encode and caption.
From features: feature shards -> minus ledger -> caption. In both cases then:
word statistics of every shard -> totals -> tables.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_features import captions_from_features, pictures_left
from beam_pipeline.captions.decoder import DecoderSpec, decoder_of_captioner, encoder_of_captioner
from beam_pipeline.captions.shard import caption_features
from beam_pipeline.encoders.base import Encoder, EncoderSpec
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.inputs.sources import resolve_source
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.reports.chart_library import begin_chart_library
from beam_pipeline.reports.report import report_of_caption
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import COUNTS, MadeShards
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.runtime.runner import run_pipeline
from beam_pipeline.shards.balance import balance_in_words, check_balance, count_outcomes, write_rejected
from beam_pipeline.shards.encoding import encode_pictures
from beam_pipeline.shards.ledger import DONE, LedgerLine
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.overlap import ENCODING, MakesShards
from beam_pipeline.shards.planning import Picture, PlanShards, ShardKey, shard_key
from beam_pipeline.shards.progress import ProgressDisplay
from beam_pipeline.shards.run import GatherResults, commit_shard, exclusive, standing
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.count_words import CountWords
from beam_pipeline.words.shard_statistics import write_words
from beam_pipeline.words.summary import SUMMARY, TABLES
from beam_pipeline.words.terms import WORD
from beam_pipeline.words.writer import ResultWriter
from training.data.feature_set import load_feature_set
from training.decoding.decoder import CaptionDecoder
from training.errors import JobFailed, UserError
from training.models.captioner import Captioner, load_captioner, no_confidence
from training.models.captioner_files import member_paths
from training.models.flags import LOW

log = logging.getLogger("captionbeam")

WORDS = f"{TABLES[WORD]}.csv"


@dataclass(frozen=True)
class Chosen:
    """What the options of a captioning come to."""

    captioner: Captioner
    decoder: DecoderSpec
    output: str
    writer: ResultWriter


def choose(options: CaptionOptions) -> Chosen:
    """Looks at everything that is asked for, and writes nothing.

    Raises:
      UserError: a wrong option.
    """
    if bool(options.images) == bool(options.features):
        raise UserError("caption: give either --images or --features")
    if options.alternatives >= options.beam_width:
        raise UserError(
            f"--alternatives {options.alternatives}: a search of --beam-width {options.beam_width} ends with "
            f"{options.beam_width - 1} beside the best caption at most; raise --beam-width"
        )
    captioner = load_captioner(options.captioner)
    decoder = replace(
        decoder_of_captioner(
            captioner, options.captioner, options.beam_width, options.min_words, options.guidance, options.alternatives
        ),
        min_confidence=options.min_confidence,
    )
    why_none = no_confidence(captioner)
    if why_none and options.min_confidence is not None:
        raise UserError(f"--min-confidence {options.min_confidence:g}: {why_none}")
    output = storage.absolute(options.output)
    made_with = {
        "model_id": captioner.model_id,
        "encoder_id": captioner.encoder.id,
        "beam_width": decoder.beam_width,
        "min_words": decoder.min_words,
        "guidance": decoder.guidance,
        "alternatives": decoder.alternatives,
        "confidence": captioner.confidence and captioner.confidence.id,
        "min_confidence": decoder.min_confidence,
        "source": "images" if options.images else "features",
    }
    _refuse_another_model(output, made_with)
    reference = None if options.reference is None else storage.absolute(options.reference)
    writer = ResultWriter(output, member_paths(decoder.captioner)[0], reference, made_with)
    writer.load_reference()  # a wrong one is better found before the job than after it
    return Chosen(captioner, decoder, output, writer)


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
    storage.use_options(beam_options)
    chosen = choose(options)
    captioner, decoder, output, writer = chosen.captioner, chosen.decoder, chosen.output, chosen.writer
    from_source = (
        _from_images(options, captioner, decoder, load)
        if options.images
        else captions_from_features(options.features or "", captioner, decoder)
    )
    if why_none := no_confidence(captioner):
        log.info("captions come without confidence: %s", why_none)
    if options.report:
        begin_chart_library()
    with exclusive(output):
        state = standing(output)
        writer.begin()
        pictures = None if options.images else pictures_left(load_feature_set(options.features or ""), state)
        progress = ProgressDisplay("caption", output, state.committed, pictures)

        def build(pipeline: beam.Pipeline) -> None:
            made = from_source(pipeline, output, state, progress.live_counts)
            earlier = pipeline | "EarlierShards" >> beam.Create([shard_key(shard) for shard in state.committed])
            shards = (earlier, made.shards) | "EveryShard" >> beam.Flatten() | "SpreadShards" >> beam.Reshuffle()
            words = shards | "CountWords" >> CountWords(output)
            (
                pipeline
                | GatherResults(words.main, [*made.counts, words[COUNTS]], made.notes)
                | "WriteResults" >> beam.Map(writer.write)
            )

        with progress:
            run_pipeline(build, beam_options, output)
        rejected_list = write_rejected(output)
    summary = json.loads(storage.read_bytes(storage.join(output, SUMMARY)))
    print(balance_in_words(summary["totals"]))
    print(f"{output}: {summary['captions']} captions, {summary['words']} content words in {WORDS}")
    if decoder.min_confidence is not None:
        print(
            f"{summary['flags'].get(LOW, 0)} of them are below --min-confidence {decoder.min_confidence:g}: flagged "
            f"{LOW} and left out of exports; the words of all pictures are counted"
        )
    if options.features and summary["captions"] != load_feature_set(options.features).records:
        raise JobFailed(
            f"{output}: {summary['captions']} captions, another number than {options.features} has pictures; run again"
        )
    if options.report:  # also of a job that rejected too much: the page shows what and why
        report_of_caption(output, options.decode_limits)
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


def _from_images(options: CaptionOptions, captioner: Captioner, decoder: DecoderSpec, load):
    assert options.images
    source = resolve_source(options.images, options.remote_lists)
    spec = encoder_of_captioner(captioner, options.captioner, options.weights)

    def made(pipeline: beam.Pipeline, output: str, state, live_counts: LiveCounts) -> MadeShards:
        plan = pipeline | "PlanShards" >> PlanShards(
            source,
            list(state.ledgers),
            list(state.unfinished),
            state.next_run,
            options.shard_size,
            options.decode_limits.max_bytes,
            retry_rejected=options.retry_rejected,
            live_counts=live_counts,
        )
        make = CaptionShards(spec, decoder, output, options.decode_limits, load, live_counts)
        captioned = plan.shards | "CaptionShards" >> make
        return MadeShards(captioned.main, [*plan.counts, captioned[COUNTS]], plan.notes)

    return made


class CaptionShards(beam.PTransform):
    """(ShardKey, pictures) -> ShardKey, its captions and then its ledger written; counts every outcome."""

    def __init__(
        self,
        encoder: EncoderSpec,
        decoder: DecoderSpec,
        output: str,
        limits: DecodeLimits,
        load,
        live_counts: LiveCounts,
    ):
        super().__init__()
        self.settings = (encoder, decoder, output, limits, load, live_counts)

    def expand(self, shards):
        return shards | "CaptionShard" >> beam.ParDo(CaptionShard(*self.settings)).with_outputs(COUNTS, main="main")


class CaptionShard(MakesShards):
    """(ShardKey, pictures) -> ShardKey, and its counts; encoder and captioner are loaded once per process."""

    def __init__(
        self,
        encoder: EncoderSpec,
        decoder: DecoderSpec,
        output: str,
        limits: DecodeLimits,
        load,
        live_counts: LiveCounts,
    ):
        self.encoder = OncePerProcess(partial(load, encoder), encoder.identity.id)
        self.decoder = OncePerProcess(decoder.load, decoder)
        self.output = output
        self.limits = limits
        self.live_counts = live_counts

    def make(self, element: tuple[ShardKey, Iterable[Picture]]) -> tuple[ShardKey, list[LedgerLine]]:
        key, pictures = element
        shard = ShardId(*key)
        return key, caption_pictures(
            shard, pictures, self.encoder, self.decoder, self.output, self.limits, self.live_counts
        )

    def outputs(self, made: tuple[ShardKey, list[LedgerLine]]) -> Iterator[Any]:
        key, lines = made
        yield from count_outcomes(lines)
        yield key


def caption_pictures(
    shard: ShardId,
    pictures: Iterable[Picture],
    encoder: Callable[[], Encoder],
    decoder: Callable[[], CaptionDecoder],
    output: str,
    limits: DecodeLimits,
    live_counts: LiveCounts,
) -> list[LedgerLine]:
    """Encodes and captions a shard's pictures in sha256 order, writes captions, then ledger -> the ledger's lines."""
    lines: list[LedgerLine] = []

    def features() -> Generator[tuple[str, str, np.ndarray]]:
        with ENCODING:
            for encoded in encode_pictures(sorted(pictures, key=lambda picture: picture.sha256), encoder, limits):
                lines.extend(encoded.read.lines)
                live_counts.add_lines(encoded.read.lines)
                if encoded.feature is not None:
                    uri = next(line.uri for line in encoded.read.lines if line.outcome == DONE)
                    yield encoded.read.picture.sha256, uri, encoded.feature

    with contextlib.closing(features()) as remaining:  # a failure must not leave the encoder locked
        captioned = caption_features(shard, remaining, decoder, output)
    write_words(shard, captioned, lines, output)
    commit_shard(output, shard, lines)
    live_counts.add(SHARDS)
    return lines
