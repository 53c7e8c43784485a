"""The word statistics of one shard, on disk: words-*.jsonl."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.runtime import storage
from beam_pipeline.shards.ledger import DONE, DUPLICATE, LedgerLine, read_ledger
from beam_pipeline.shards.shard_id import ShardId
from beam_pipeline.words.statistics import ShardStatistics, shard_statistics, statistics_from_json, statistics_to_json


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
