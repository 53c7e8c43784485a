"""Features of a shard -> its captions, and the file that holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from beam_pipeline.captions.picture import Alternative, CaptionedPicture
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.interrupts import raise_if_stopping
from beam_pipeline.runtime.threads import batched, map_ahead
from beam_pipeline.shards.feature_shard import PictureFeature
from beam_pipeline.shards.shard_id import ShardId
from training.decoding.decoder import CaptionDecoder, Hypothesis

DECODER_BATCH = 64  # pictures captioned together; always padded to this number, so that it changes no caption


def write_captions(
    shard: ShardId,
    features: Iterable[PictureFeature],
    decoder: Callable[[], CaptionDecoder],
    output: str,
    on_captioned: Callable[[int], object] = lambda number: None,
    known: Mapping[str, CaptionedPicture] = MappingProxyType({}),
) -> list[CaptionedPicture]:
    """Captions the pictures of a shard and writes `captions-*.jsonl`; returns them, in the order of the features.

    Args:
      decoder: gives the caption decoder; not called where there is nothing to caption.
      output: directory of the captions.
      on_captioned: called with the number of pictures after each batch.
      known: sha256 -> what a picture was captioned as earlier; it is not captioned again.
    """

    def caption_batch(batch: Sequence[PictureFeature]) -> list[tuple[CaptionedPicture, str]]:
        new = [feature for feature in batch if feature.sha256 not in known]
        captioned = iter(caption_features(new, decoder()) if new else ())
        pictures = [
            replace(known[feature.sha256], uri=feature.uri) if feature.sha256 in known else next(captioned)
            for feature in batch
        ]
        return [(picture, caption_line(picture)) for picture in pictures]

    pictures: list[CaptionedPicture] = []
    lines: list[str] = []
    # While one batch is captioned, the next one is read or encoded.
    for batch in map_ahead(caption_batch, batched(features, DECODER_BATCH), threads=1, ahead=2):
        raise_if_stopping()
        pictures += (picture for picture, _ in batch)
        lines += (line for _, line in batch)
        on_captioned(len(batch))
    storage.write_atomic(storage.join(output, shard.captions()), "".join(lines).encode())
    return pictures


def caption_features(features: Sequence[PictureFeature], decoder: CaptionDecoder) -> list[CaptionedPicture]:
    """Features of at least one picture -> the captioned pictures, in order."""
    hypotheses = decoder.decode(np.stack([one.feature for one in features]), [one.sha256 for one in features])
    return [captioned_picture(sha256, uri, best) for (sha256, uri, _), best in zip(features, hypotheses, strict=True)]


def captioned_picture(sha256: str, uri: str, hypothesis: Hypothesis) -> CaptionedPicture:
    """Picture and its best hypothesis -> CaptionedPicture, scores rounded to 4 digits."""
    evidence = None if hypothesis.evidence is None else hypothesis.evidence.to_json()
    best, *others = [
        Alternative(one.caption, round(float(one.score), 4), one.confidence)
        for one in (hypothesis, *hypothesis.alternatives)
    ]
    flags = hypothesis.flags
    return CaptionedPicture(sha256, uri, best.caption, best.score, flags, evidence, tuple(others), best.confidence)


def caption_line(picture: CaptionedPicture) -> str:
    """CaptionedPicture -> its line of `captions-*.jsonl`."""
    return json.dumps(picture.to_json()) + "\n"
