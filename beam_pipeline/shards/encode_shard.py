"""One shard of pictures -> its features in a TFRecord file, its ledger, and its entry in the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import tensorflow as tf

from beam_pipeline.encoders.base import Encoder
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.encoding import EncodedPicture, encode_pictures
from beam_pipeline.shards.ledger import REJECTED, LedgerLine
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.overlap import ENCODING, MakeShard
from beam_pipeline.shards.planning import ShardKey
from beam_pipeline.shards.shard_id import ShardId
from training.data.feature_records import FeatureRecord, serialize
from training.data.feature_set import Shard


class EncodeShard(MakeShard):
    """(ShardKey, Pictures) -> Shard, its features and then its ledger written; counts every outcome.

    Args:
      encoder: gives the encoder, loaded once per process.
      output: directory of the feature set.
      limits: what decoding one picture may cost.
      live_counts: counters for the progress display.
    """

    def __init__(self, encoder: OncePerProcess[Encoder], output: str, limits: DecodeLimits, live_counts: LiveCounts):
        self.encoder = encoder
        self.output = output
        self.limits = limits
        self.live_counts = live_counts

    def make(self, element: tuple[ShardKey, Iterable[Picture]]) -> tuple[Shard, list[LedgerLine]]:
        key, pictures = element
        return encode_shard(ShardId(*key), pictures, self.encoder, self.output, self.limits, self.live_counts)


def encode_shard(
    shard: ShardId,
    pictures: Iterable[Picture],
    encoder: Callable[[], Encoder],
    output: str,
    limits: DecodeLimits,
    live_counts: LiveCounts,
) -> tuple[Shard, list[LedgerLine]]:
    """Pictures of a shard -> its entry in the manifest and the lines of its ledger, both files written.

    Records stand in the order of sha256. A shard without any record has no TFRecord file.

    Args:
      encoder: gives the encoder; not called where there is nothing to encode.
    """
    path = storage.join(output, shard.features())
    lines: list[LedgerLine] = []
    records = captions = 0
    with storage.new_file(path) as local:
        with tf.io.TFRecordWriter(local) as writer, ENCODING:
            for encoded in encode_pictures(sorted(pictures, key=lambda one: one.sha256), encoder, limits):
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
    ledger_sha256 = commit_shard(output, shard, lines)
    live_counts.add(SHARDS)
    return Shard(shard.features(), records, captions, size_bytes, digest, ledger_sha256), lines


def feature_record(encoded: EncodedPicture) -> FeatureRecord:
    """Encoded picture -> its record: the features, the captions, and the uri of every file that could be read."""
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
