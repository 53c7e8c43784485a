"""Which words matter in a captioned collection: exact, mergeable statistics of every content word.

All sums are integers (scores in millionths), so that the totals depend neither on the order of the pictures nor on
how they were cut into shards.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from beam_pipeline import storage
from beam_pipeline.inputs import uri_key, uri_of
from beam_pipeline.ledger import DONE, DUPLICATE, LedgerLine
from beam_pipeline.outputs import COUNTS, Outputs, count
from beam_pipeline.planning import ShardKey, read_ledger_in_order
from beam_pipeline.sharding import ShardId
from training.tokenizer import tokenize

MICRO = 1_000_000
EXAMPLES = 3  # pictures that are remembered for a word: those whose captions the captioner is surest of
COLUMNS = ("word", "count", "images", "files", "share_of_images", "mean_probability", "example")

Example = tuple[int, str, str]  # (minus score in millionths, sha256, uri): sorts the surest first


@dataclass(frozen=True)
class WordTally:
    """What is known of one word.

    Attributes:
      count: times it stands in the captions of distinct pictures.
      images: distinct pictures whose caption holds it.
      files: files that show these pictures.
      score_micro: sum over these pictures of the caption's mean log-probability per word, in millionths.
      examples: up to EXAMPLES pictures, surest first.
    """

    count: int
    images: int
    files: int
    score_micro: int
    examples: tuple[Example, ...]


@functools.cache
def stop_words() -> frozenset[str]:
    """The function words that are never counted: `stop_words.txt` beside this file."""
    text = importlib.resources.files("beam_pipeline").joinpath("stop_words.txt").read_text("utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def content_words(caption: str) -> list[str]:
    """Caption -> its words in lower case, without stop words and marks."""
    return [
        word
        for word in tokenize(caption)
        if any(map(str.isalnum, word)) and not word.startswith("'") and word not in stop_words()
    ]


def tally_caption(caption: str, score: float, sha256: str, uri: str, files: int) -> Iterator[tuple[str, WordTally]]:
    """One distinct picture's caption -> (word, WordTally) for each of its content words."""
    micro = round(score * MICRO)
    for word, times in sorted(Counter(content_words(caption)).items()):
        yield word, WordTally(times, 1, files, micro, ((-micro, sha256, uri),))


def merge_tallies(tallies: Iterable[WordTally]) -> WordTally:
    """Tallies of one word over disjoint sets of pictures -> their sum; order and grouping change nothing."""
    count = images = files = score_micro = 0
    examples: list[Example] = []
    for tally in tallies:
        count += tally.count
        images += tally.images
        files += tally.files
        score_micro += tally.score_micro
        examples = sorted([*examples, *tally.examples])[:EXAMPLES]
    return WordTally(count, images, files, score_micro, tuple(examples))


class MergeTallies(beam.CombineFn):
    """WordTally of many pictures -> one, for `CombinePerKey`."""

    def create_accumulator(self) -> WordTally:
        return merge_tallies([])

    def add_input(self, accumulator: WordTally, tally: WordTally) -> WordTally:
        return merge_tallies([accumulator, tally])

    def merge_accumulators(self, accumulators: Iterable[WordTally]) -> WordTally:
        return merge_tallies(accumulators)

    def extract_output(self, accumulator: WordTally) -> WordTally:
        return accumulator


class CountWords(beam.PTransform):
    """ShardKey of captioned shards -> (word, WordTally) over all of them; counts captions and flags.

    A picture counts once, and once more for every file that holds it; one whose files have all changed counts no more.
    """

    def __init__(self, output: str):
        super().__init__()
        self.output = output

    def expand(self, shards):
        rows = shards | "ReadCaptions" >> beam.FlatMap(read_captions, self.output)
        files = (
            shards
            | "ReadLedgers" >> beam.FlatMap(ledger_of_shard, self.output)
            | "GroupByUri" >> beam.GroupByKey()
            | "FilesOfPicture" >> beam.FlatMap(picture_of_file)
        )
        tallied = (
            {"rows": rows, "files": files}
            | "GroupByPicture" >> beam.CoGroupByKey()
            | "TallyCaption" >> beam.FlatMap(tally_picture).with_outputs(COUNTS, main="main")
        )
        words = tallied.main | "MergeTallies" >> beam.CombinePerKey(MergeTallies())
        return Outputs(words, tallied[COUNTS])


def read_captions(key: ShardKey, output: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """ShardKey -> (sha256, caption row)."""
    with storage.open_file(storage.join(output, ShardId(*key).captions())) as file:
        for line in file:
            row = json.loads(line)
            yield row["sha256"], {**row, "uri": uri_key(row["uri"])}


def ledger_of_shard(key: ShardKey, output: str) -> Iterator[tuple[bytes, tuple[str, LedgerLine]]]:
    """ShardKey -> (key of the uri, (ledger name, ledger line))."""
    for name, line in read_ledger_in_order(storage.join(output, ShardId(*key).ledger())):
        yield uri_key(line.uri), (name, line)


def picture_of_file(group: tuple[bytes, Iterable[tuple[str, LedgerLine]]]) -> Iterator[tuple[str, bytes]]:
    """Ledger lines of one uri -> (sha256, key of the uri) of the picture that it shows now."""
    uri, lines = group
    _, line = max(lines, key=lambda named: named[0])
    if line.outcome in (DONE, DUPLICATE):
        yield line.sha256, uri


def tally_picture(group: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Caption row and files of one picture -> (word, WordTally), and counts of captions and flags."""
    sha256, grouped = group
    files = sum(1 for _ in grouped["files"])
    for row in grouped["rows"]:
        yield count("captions")
        for flag in row["flags"]:
            yield count(f"flag_{flag}")
        if files:
            yield from tally_caption(row["caption"], row["score"], sha256, uri_of(row["uri"]), files)
            yield count("pictures_counted")


def to_csv(words: Iterable[tuple[str, WordTally]], pictures: int) -> bytes:
    """(word, WordTally) of a collection of `pictures` distinct pictures -> `word_importance.csv`, most pictures first.

    mean_probability is the geometric mean of a word's probability in the captions that hold the word, 0 to 1.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for word, tally in sorted(words, key=lambda item: (-item[1].images, -item[1].count, item[0])):
        row = (
            escape_cell(word),
            tally.count,
            tally.images,
            tally.files,
            f"{tally.images / pictures:.6f}",
            f"{math.exp(tally.score_micro / MICRO / tally.images):.4f}",
            escape_cell(tally.examples[0][2]),
        )
        writer.writerow(row)
    return text.getvalue().encode("utf-8", "backslashreplace")


def escape_cell(text: str) -> str:
    """Text -> CSV cell that no spreadsheet runs as a formula: an apostrophe is put before = + - @ tab, return and '.

    `unescape_cell` undoes it.
    """
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "'")) else text


def unescape_cell(cell: str) -> str:
    """CSV cell -> the text that `escape_cell` was given."""
    return cell.removeprefix("'")
