"""Pipeline 2: images or features -> a caption for every distinct picture, a ledger, and word importance.

From images: list -> minus ledger -> fingerprint -> distinct pictures -> shards -> encode and caption.
From features: feature shards -> minus ledgers -> caption. Then in both cases:
word statistics of every shard -> totals -> tables.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.caption_features import (
    CaptionFromFeatures,
    check_dropped,
    dropped_shards,
    features_for,
    pictures_left,
)
from beam_pipeline.caption_shard import CaptionShard
from beam_pipeline.captions.decoder import Captioning, DecoderSpec, encoder_of_captioner, resolve_captioning
from beam_pipeline.captions.picture import captioned_contents
from beam_pipeline.encoders.base import EncoderSpec, LoadEncoder
from beam_pipeline.encoders.once import encoder_once
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.inputs.sources import Collection, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.prune_captions import prune_captions
from beam_pipeline.reports.chart_library import begin_chart_library
from beam_pipeline.reports.report import report_of_caption
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.counts import Outputs, outputs_of
from beam_pipeline.shards.balance import pruned_line
from beam_pipeline.shards.overlap import MakeShards
from beam_pipeline.shards.planning import PlanShards, shard_key
from beam_pipeline.shards.run import GatherResults, Run
from beam_pipeline.words.count_words import CountWords
from beam_pipeline.words.summary import TABLES, mention_strangers_of_captions, put_ledger_digests, read_earlier
from beam_pipeline.words.terms import WORD
from beam_pipeline.words.writer import ResultWriter
from training.errors import JobFailed
from training.models.captioner import no_confidence
from training.models.captioner_files import member_paths
from training.models.flags import LOW
from training.options import NO_JUDGE
from training.own_directories import require_output
from training.own_names import CAPTIONS
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

WORDS = f"{TABLES[WORD]}.csv"


def caption(options: CaptionOptions, beam_options: PipelineOptions, load: LoadEncoder = load_encoder) -> dict[str, Any]:
    """Captions a collection of images or a feature set; what the output already holds is not done again.

    Args:
      options: settings of the command.
      beam_options: options of the pipeline.
      load: loads the encoder on a worker.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: an option is wrong; nothing has been written.
      JobFailed: the job failed, or too many inputs were rejected; finished shards are kept.
    """
    storage.use_options(beam_options)
    captioning, writer = resolve_options(options)
    captioner, decoder = captioning.captioner, captioning.decoder
    if options.images:
        collection = resolve_collection(options.images, options.remote_lists, options.exclude)
        encoder = encoder_of_captioner(captioner, options.captioner, options.weights)
    else:
        features = features_for(captioner, options.features or "")
    if why_none := no_confidence(captioner):
        log.info("captions come without confidence: %s", why_none)
    if options.report:
        begin_chart_library()
    with Run("caption", writer.output, beam_options) as run:
        dropped = () if options.images else dropped_shards(features, run.standing)
        if dropped:
            check_dropped(features, dropped, run.output, options.prune, options.max_prune_rate)
        writer.begin()
        run.discard(writer.damaged_shards())
        if options.images:
            run.forget_lost(captioned_contents, put_ledger_digests)
        dropped = tuple(shard for shard in dropped if shard in run.standing.committed)
        with run.pipeline(None if options.images else pictures_left(features, run.standing)) as pipeline:
            caption_shards = (
                CaptionFromImages(collection, encoder, decoder, options, run, load)
                if options.images
                else CaptionFromFeatures(features, decoder, run, dropped)
            )
            captioned = pipeline | "CaptionShards" >> caption_shards
            kept = [shard_key(shard) for shard in run.standing.committed if shard not in set(dropped)]
            earlier = pipeline | "EarlierShards" >> beam.Create(kept)
            shards = (earlier, captioned.main) | "AllShards" >> beam.Flatten() | "SpreadShards" >> beam.Reshuffle()
            words = shards | "CountWords" >> CountWords(run.output)
            results = words.main | "GatherResults" >> GatherResults(captioned, words)
            _ = results | "WriteResults" >> beam.Map(writer.write, without=dropped, kept=run.standing.committed)
        summary = read_earlier(run.output)
        if options.images and options.prune and run.needs_prune(summary["totals"]):
            run.check_prune(summary["totals"], summary["captions"], options)
            prune_captions(run, collection, writer, summary, options.shard_size)
            print(pruned_line(summary["totals"]))
            summary = read_earlier(run.output)
        run.remove_replaced()
        run.remove_shards(dropped)
        run.print_balance(summary["totals"], summary["notes"])
        _print_summary(run.output, summary, decoder.min_confidence)
        if options.features and summary["captions"] != features.records:
            raise JobFailed(
                f"{run.output}: holds {counted(summary['captions'], 'caption')}, but {options.features} has "
                f"{counted(features.records, 'picture')}; run the same command again"
            )
        if options.report:  # also of a job that rejected too much: the page shows what and why
            report_of_caption(run.output, options.decode_limits)
        mention_strangers_of_captions(run.output, summary)
        run.print_gone(summary["totals"])
        run.check_balance(summary["totals"], options.max_reject_rate)
    return summary


def resolve_options(options: CaptionOptions) -> tuple[Captioning, ResultWriter]:
    """Options -> the captioner, loaded, and the writer of the results; writes nothing.

    Raises:
      UserError: an option is wrong, or the output holds something else, or captions made with other settings.
    """
    require_output(options.output, CAPTIONS)
    earlier = read_earlier(storage.absolute(options.output))
    captioning = resolve_captioning(_as_before(options, earlier["made_with"]) if earlier else options)
    reference = None if options.reference is None else storage.absolute(options.reference)
    first_member = member_paths(captioning.decoder.captioner)[0]
    made_with = captioning.made_with("images" if options.images else "features")
    weights = storage.absolute(options.weights) if options.images and options.weights else ""
    writer = ResultWriter(storage.absolute(options.output), first_member, reference, made_with, weights)
    writer.check()
    return captioning, writer


def _as_before(options: CaptionOptions, made_with: Mapping[str, Any]) -> CaptionOptions:
    """Options -> the same, with the settings of the captions that the output holds in place of what is left open."""
    settings: dict[str, Any] = {name: made_with.get(name) for name in ("beam_width", "min_words", "guidance")}
    settings["judge"] = None if made_with.get("judge") else NO_JUDGE
    return replace(options, **{name: value for name, value in settings.items() if getattr(options, name) is None})


def _print_summary(output: str, summary: dict[str, Any], min_confidence: float | None) -> None:
    captions, words = counted(summary["captions"], "caption"), counted(summary["words"], "content word")
    print(f"{output}: {captions}, {words} in {WORDS}")
    if min_confidence is not None:
        low = summary["flags"].get(LOW, 0)
        print(
            f"{counted(low, 'caption')} below --min-confidence {min_confidence:g}: flagged {LOW} and left out of "
            "exports; their words are counted like all others"
        )


class CaptionFromImages(beam.PTransform):
    """Pipeline -> Outputs of ShardKey: everything in a collection that the ledgers do not account for, captioned.

    Args:
      collection: what to caption.
      encoder: the encoder that the captioner was trained with.
      decoder: how to caption.
      options: shard size, limits, and whether to retry rejected inputs.
      run: gives the output directory, what it holds, and the live counts.
      load: loads the encoder on a worker.
    """

    def __init__(
        self,
        collection: Collection,
        encoder: EncoderSpec,
        decoder: DecoderSpec,
        options: CaptionOptions,
        run: Run,
        load: LoadEncoder = load_encoder,
    ):
        super().__init__()
        self.plan_shards = PlanShards(collection, run.standing, options, live_counts=run.live_counts)
        self.caption_shard = CaptionShard(
            encoder_once(encoder, load), decoder, run.output, options.decode_limits, run.live_counts
        )

    def expand(self, pipeline: beam.Pipeline) -> Outputs:
        plan = pipeline | "PlanShards" >> self.plan_shards
        captioned = plan.main | "CaptionShards" >> MakeShards(self.caption_shard)
        return outputs_of(captioned.main, plan, captioned)
