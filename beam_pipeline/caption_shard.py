"""One shard of pictures -> its captions, word statistics and ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable

from beam_pipeline.captions.decoder import DecoderSpec
from beam_pipeline.captions.shard import write_captions
from beam_pipeline.encoders.base import Encoder
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime.once_per_process import OncePerProcess
from beam_pipeline.shards.contents import Picture
from beam_pipeline.shards.encoding import encode_pictures
from beam_pipeline.shards.feature_shard import PictureFeature
from beam_pipeline.shards.ledger import DONE, LedgerLine
from beam_pipeline.shards.live_counts import SHARDS, LiveCounts
from beam_pipeline.shards.output_directory import commit_shard
from beam_pipeline.shards.overlap import ENCODING, MakeShard
from beam_pipeline.shards.planning import ShardKey
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.shard_statistics import write_words
from training.decoding.decoder import CaptionDecoder


class CaptionShard(MakeShard):
    """(ShardKey, Pictures) -> ShardKey, the shard's captions and then its ledger written; counts every outcome.

    Args:
      encoder: gives the encoder, loaded once per process.
      decoder: how to caption; loaded once per process.
      output: directory of the captions.
      limits: what decoding one picture may cost.
      live_counts: counters for the progress display.
    """

    def __init__(
        self,
        encoder: OncePerProcess[Encoder],
        decoder: DecoderSpec,
        output: str,
        limits: DecodeLimits,
        live_counts: LiveCounts,
    ):
        self.output = output
        self.limits = limits
        self.live_counts = live_counts
        self.encoder = encoder
        self.decoder = OncePerProcess(decoder.load, decoder)

    def make(self, element: tuple[ShardKey, Iterable[Picture]]) -> tuple[ShardKey, list[LedgerLine]]:
        key, pictures = element
        shard = ShardId(*key)
        return key, caption_shard(
            shard, pictures, self.encoder, self.decoder, self.output, self.limits, self.live_counts
        )


def caption_shard(
    shard: ShardId,
    pictures: Iterable[Picture],
    encoder: Callable[[], Encoder],
    decoder: Callable[[], CaptionDecoder],
    output: str,
    limits: DecodeLimits,
    live_counts: LiveCounts,
) -> list[LedgerLine]:
    """Pictures of a shard -> the lines of its ledger; writes captions in the order of sha256, word statistics, ledger.

    Args:
      encoder: gives the encoder; not called where there is nothing to encode.
      decoder: gives the caption decoder; not called where there is nothing to caption.
    """
    lines: list[LedgerLine] = []

    def features() -> Generator[PictureFeature]:
        with ENCODING:
            for encoded in encode_pictures(sorted(pictures, key=lambda one: one.sha256), encoder, limits):
                lines.extend(encoded.read.lines)
                live_counts.add_lines(encoded.read.lines)
                if encoded.feature is not None:
                    uri = next(line.uri for line in encoded.read.lines if line.outcome == DONE)
                    yield PictureFeature(encoded.read.picture.sha256, uri, encoded.feature)

    with contextlib.closing(features()) as remaining:  # a failure must not leave the encoder locked
        captioned = write_captions(shard, remaining, decoder, output)
    write_words(shard, captioned, lines, output)
    commit_shard(output, shard, lines)
    live_counts.add(SHARDS)
    return lines
