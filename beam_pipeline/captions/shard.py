"""The files of a captioned shard: captions, word statistics, and the ledger that commits both."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from beam_pipeline.runtime import storage
from beam_pipeline.runtime.interrupts import leave_if_stopping
from beam_pipeline.shards.encoding import map_ahead
from beam_pipeline.shards.ledger import DONE, DUPLICATE, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.statistics import (
    Alternative,
    CaptionedPicture,
    ShardStatistics,
    shard_statistics,
    statistics_from_json,
    statistics_to_json,
)
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
        leave_if_stopping()
        pictures += (picture for picture, _ in batch)
        lines += (line for _, line in batch)
        made(len(batch))
    storage.write_atomic(storage.join(output, shard.captions()), "".join(lines).encode())
    return pictures


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items -> lists of so many of them, the last of fewer."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


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


def read_captions(shard: ShardId, output: str) -> Iterator[CaptionedPicture]:
    """Shard -> its pictures with their captions."""
    with storage.open_file(storage.join(output, shard.captions())) as file:
        for line in file:
            yield CaptionedPicture.from_json(json.loads(line))


def files_of_pictures(lines: Iterable[LedgerLine]) -> Counter[str]:
    """Ledger lines -> sha256 of a picture -> how many of the files show it."""
    return Counter(line.sha256 for line in lines if line.outcome in (DONE, DUPLICATE))


def write_words(
    shard: ShardId, pictures: Iterable[CaptionedPicture], lines: Iterable[LedgerLine], output: str
) -> ShardStatistics:
    """Writes `words-*.jsonl`: the statistics of a shard's pictures, as many files each as its own ledger has."""
    statistics = shard_statistics(pictures, files_of_pictures(lines))
    storage.write_atomic(storage.join(output, shard.words()), to_words(statistics))
    return statistics


def to_words(statistics: ShardStatistics) -> bytes:
    """Content of `words-*.jsonl`."""
    rows = (json.dumps(row, separators=(",", ":")) + "\n" for row in statistics_to_json(statistics))
    return "".join(rows).encode()


def read_words(shard: ShardId, output: str) -> ShardStatistics | None:
    """What `write_words` wrote; None where there is no such file, or one of another version."""
    path = storage.join(output, shard.words())
    if not storage.exists(path):
        return None
    with storage.open_file(path) as file:
        return statistics_from_json(map(json.loads, file))


def statistics_of_shard(shard: ShardId, output: str, files_now: Mapping[str, int]) -> ShardStatistics:
    """Statistics of a committed shard.

    Args:
      files_now: sha256 -> number of files, of the pictures that other shards' ledgers give more files or fewer.
    """
    if not files_now and (stored := read_words(shard, output)):
        return stored
    files = files_of_pictures(read_ledger(storage.join(output, shard.ledger())))
    return shard_statistics(read_captions(shard, output), {**files, **files_now})
