"""Pipeline 1: images -> sharded TFRecords of InceptionV3 features, a ledger, and a manifest.

list -> join captions -> minus ledger -> fingerprint -> distinct pictures -> shards -> encode -> manifest
"""

from __future__ import annotations

import logging
from dataclasses import replace

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.encoders.base import LoadEncoder
from beam_pipeline.encoders.once import encoder_once
from beam_pipeline.encoders.registry import load_encoder
from beam_pipeline.inputs.sources import resolve_collection
from beam_pipeline.options.extract import ExtractOptions
from beam_pipeline.runtime import storage
from beam_pipeline.shards.balance import pruned_line
from beam_pipeline.shards.encode_shard import EncodeShard
from beam_pipeline.shards.feature_encoder import earlier_features, encoder_of_options, keep_int8_encoder, keep_tail
from beam_pipeline.shards.feature_shard import stored_features, summarize_shard
from beam_pipeline.shards.manifest import (
    damaged_shards,
    finish_manifest,
    put_ledger_digests,
    read_manifest,
    split_by_manifest,
    write_manifest,
)
from beam_pipeline.shards.overlap import MakeShards
from beam_pipeline.shards.planning import PlanShards
from beam_pipeline.shards.prune_features import prune_features
from beam_pipeline.shards.run import GatherResults, Run
from training.data.caption_files import read_captions
from training.data.feature_set import FeatureSet
from training.data.strangers import mention_strangers
from training.own_directories import require_output
from training.own_names import FEATURES
from training.text.plurals import counted

log = logging.getLogger("captionbeam")


def extract(options: ExtractOptions, beam_options: PipelineOptions, load: LoadEncoder = load_encoder) -> FeatureSet:
    """Extracts features of a collection into a feature set; what it already holds is not done again.

    Args:
      options: settings of the command.
      beam_options: options of the pipeline.
      load: loads the encoder on a worker.

    Returns:
      The feature set, with the totals of the whole collection.

    Raises:
      UserError: an option is wrong; nothing has been written.
      JobFailed: the job failed, or too many inputs were rejected; finished shards are kept.
    """
    storage.use_options(beam_options)
    require_output(options.output, FEATURES)
    collection = resolve_collection(options.images, options.remote_lists, options.exclude)
    captions = read_captions(options.captions) if options.captions else None
    has_captions = captions is not None or collection.may_hold_captions
    output = storage.absolute(options.output)
    earlier = earlier_features(options, output)
    with Run("extract", output, beam_options) as run:
        encoder = keep_int8_encoder(encoder_of_options(options, collection, earlier, output), output)
        tail_sha256 = keep_tail(encoder, output, earlier)
        run.discard(damaged_shards(run.standing.committed, earlier, has_captions))
        run.forget_lost(stored_features, put_ledger_digests)
        earlier = read_manifest(output)
        listed, unlisted = split_by_manifest(run.standing.committed, earlier)
        features = FeatureSet(output, encoder.identity, listed, options.augment, tail_sha256=tail_sha256)
        if earlier is None:
            write_manifest(features)  # from now on the directory refuses another encoder
        log.info("encoder %s", encoder.identity)
        if captions and run.standing.committed:
            log.info("pictures of earlier runs keep the captions that were stored with them")
        if earlier and earlier.captions and not has_captions:
            log.info("new pictures are stored without captions, unlike those of earlier runs: no --captions given")
        with run.pipeline() as pipeline:
            limits = replace(options.decode_limits, views=options.augment)
            encode = EncodeShard(encoder_once(encoder, load), output, limits, run.live_counts)
            plan = pipeline | "PlanShards" >> PlanShards(collection, run.standing, options, captions, run.live_counts)
            encoded = plan.main | "EncodeShards" >> MakeShards(encode)
            summarized = (
                pipeline
                | "UnlistedShards" >> beam.Create(unlisted)
                | "SummarizeShards" >> beam.Map(summarize_shard, output)
            )
            shards = (encoded.main, summarized) | "AllShards" >> beam.Flatten()
            results = shards | "GatherResults" >> GatherResults(plan, encoded)
            _ = results | "FinishManifest" >> beam.Map(finish_manifest, features)
        finished = read_manifest(output)
        assert finished is not None
        if options.prune and run.needs_prune(finished.totals):
            run.check_prune(finished.totals, finished.records, options)
            prune_features(run, collection, finished, options.shard_size)
            print(pruned_line(finished.totals))
            finished = read_manifest(output)
            assert finished is not None
        run.remove_replaced()
        run.print_balance(finished.totals, finished.notes)
        print(
            f"{output}: {counted(finished.records, 'picture')} in {counted(len(finished.shards), 'shard')}, "
            f"{counted(finished.captions, 'caption')}"
        )
        mention_strangers(finished)
        run.print_gone(finished.totals)
        run.check_balance(finished.totals, options.max_reject_rate)
    return finished
