"""The files of a captioned shard: captions, word statistics, and the ledger that commits both."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from beam_pipeline import storage
from beam_pipeline.ledger import DONE, DUPLICATE, LedgerLine, read_ledger
from beam_pipeline.runs import log_shard
from beam_pipeline.sharding import ShardId
from beam_pipeline.word_statistics import (
    Alternative,
    CaptionedPicture,
    ShardStatistics,
    shard_statistics,
    statistics_from_json,
    statistics_to_json,
)
from training.decoding import CaptionDecoder, Hypothesis

DECODER_BATCH = 64  # pictures that are captioned together; always padded to this number, so that it changes no caption


def caption_features(
    shard: ShardId, features: Iterable[tuple[str, str, np.ndarray]], decoder: Callable[[], CaptionDecoder], output: str
) -> list[CaptionedPicture]:
    """(sha256, uri, feature) -> the shard's `captions-*.jsonl`, one line a picture in the same order; returns them."""
    began = time.monotonic()
    pictures: list[CaptionedPicture] = []
    remaining = iter(features)
    while batch := list(itertools.islice(remaining, DECODER_BATCH)):
        hypotheses = decoder().decode(np.stack([feature for _, _, feature in batch]))
        for (sha256, uri, _), hypothesis in zip(batch, hypotheses, strict=True):
            pictures.append(captioned(sha256, uri, hypothesis))
    lines = "".join(json.dumps(picture.to_json()) + "\n" for picture in pictures)
    storage.write_atomic(storage.join(output, shard.captions()), lines.encode())
    log_shard(shard, len(pictures), "captions", began)
    return pictures


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
    rows = (json.dumps(row, separators=(",", ":")) + "\n" for row in statistics_to_json(statistics))
    storage.write_atomic(storage.join(output, shard.words()), "".join(rows).encode())
    return statistics


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
