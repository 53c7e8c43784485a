"""The files of a captioned shard: captions, word statistics, and the ledger that commits both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from beam_pipeline.captions.picture import Alternative, CaptionedPicture
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.interrupts import raise_if_stopping
from beam_pipeline.runtime.threads import batched, map_ahead
from beam_pipeline.shards.shard_id import ShardId
from training.decoding.decoder import CaptionDecoder, Hypothesis

Item = TypeVar("Item")

DECODER_BATCH = 64  # pictures that are captioned together; always padded to this number, so that it changes no caption


def caption_features(
    shard: ShardId,
    features: Iterable[tuple[str, str, np.ndarray]],
    decoder: Callable[[], CaptionDecoder],
    output: str,
    made: Callable[[int], object] = lambda number: None,
) -> list[CaptionedPicture]:
    """(sha256, uri, feature) -> the shard's `captions-*.jsonl`, one line a picture in the same order; returns them.

    Args:
      made: told how many, whenever some captions are made.
    """

    def caption_batch(batch: Sequence[tuple[str, str, np.ndarray]]) -> list[tuple[CaptionedPicture, str]]:
        hypotheses = decoder().decode(np.stack([feature for _, _, feature in batch]))
        said = [captioned(sha256, uri, one) for (sha256, uri, _), one in zip(batch, hypotheses, strict=True)]
        return [(picture, to_line(picture)) for picture in said]

    pictures: list[CaptionedPicture] = []
    lines: list[str] = []
    # While one batch is captioned, the next is read or encoded.
    for batch in map_ahead(caption_batch, batched(features, DECODER_BATCH), threads=1, ahead=2):
        raise_if_stopping()
        pictures += (picture for picture, _ in batch)
        lines += (line for _, line in batch)
        made(len(batch))
    storage.write_atomic(storage.join(output, shard.captions()), "".join(lines).encode())
    return pictures


def to_line(picture: CaptionedPicture) -> str:
    """Picture -> its line of `captions-*.jsonl`."""
    return json.dumps(picture.to_json()) + "\n"


def captioned(sha256: str, uri: str, hypothesis: Hypothesis) -> CaptionedPicture:
    """What the decoder settled on for a picture -> what is kept of it."""
    evidence = None if hypothesis.evidence is None else hypothesis.evidence.to_json()
    best, *others = [
        Alternative(one.caption, round(float(one.score), 4), one.confidence)
        for one in (hypothesis, *hypothesis.alternatives)
    ]
    flags = hypothesis.flags
    return CaptionedPicture(sha256, uri, best.caption, best.score, flags, evidence, tuple(others), best.confidence)
