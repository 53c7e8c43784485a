"""The data that a report shows of a captions directory: a bounded part, however large the collection is."""

from __future__ import annotations

import heapq
import math
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from beam_pipeline.captions.picture import CaptionedPicture, read_captions
from beam_pipeline.inputs.input_file import MEMBER_SEPARATOR, split_member_uri
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.text import utf8
from beam_pipeline.shards.ledger import LedgerLine, rejected_inputs
from beam_pipeline.shards.shard_id import content_key
from beam_pipeline.words.statistics import LIKELY_FALSE
from beam_pipeline.words.summary import RENEW, counted_ledgers, read_table, require_result, result_path, sound_shards
from beam_pipeline.words.terms import WORD
from training.documents import Hex, Share, parse_lines
from training.own_names import EVIDENCE

PICTURES_SHOWN = 5000
WORDS_SHOWN = 2000
WORDS_WITH_PICTURES = 300
REJECTED_SHOWN = 1000
REASONS_SHOWN = 20
_SHARDS_READ = 1000  # evenly spaced, where there are more


@dataclass(frozen=True)
class ShownPicture:
    """A picture on the page.

    Attributes:
      uri, sha256, caption: as in `captions-*.jsonl`.
      flags: of the caption, see `training.models.flags`.
      confidence: 0 to 1: the captioner's, or else the geometric mean of the probabilities of the caption's words. None
        for a picture that is only an example of a word.
      has_confidence: whether it is the captioner's.
    """

    uri: str
    sha256: str
    caption: str
    flags: tuple[str, ...] = ()
    confidence: float | None = None
    has_confidence: bool = False


def shown_picture(picture: CaptionedPicture) -> ShownPicture:
    """CaptionedPicture -> ShownPicture."""
    own = picture.confidence
    confidence = math.exp(min(0.0, picture.score)) if own is None else own
    return ShownPicture(picture.uri, picture.sha256, picture.caption, picture.flags, confidence, own is not None)


def sample_pictures(directory: str, most: int = PICTURES_SHOWN) -> list[ShownPicture]:
    """Captions directory -> a random sample of its pictures, sorted by address: those with the smallest sha256.

    The lines of a shard are sorted by sha256, so only the beginning of each shard of a large collection is read.
    """
    shards = sound_shards(directory)
    heap: list[tuple[int, str]] = []
    pictures: dict[str, ShownPicture] = {}
    for shard in shards[:: -(-len(shards) // _SHARDS_READ) or 1]:
        for picture in map(shown_picture, read_captions(shard, directory)):
            rank = -content_key(picture.sha256), picture.sha256
            if picture.sha256 in pictures:
                pictures[picture.sha256] = picture  # of a later run
            elif len(heap) < most:
                heapq.heappush(heap, rank)
                pictures[picture.sha256] = picture
            elif rank < heap[0]:
                break
            else:
                del pictures[heapq.heapreplace(heap, rank)[1]]
                pictures[picture.sha256] = picture
    return sorted(pictures.values(), key=lambda picture: picture.uri)


@dataclass(frozen=True)
class ShownExample:
    """An example picture of a word, and the word's presence in it, 0 to 1, or None."""

    picture: ShownPicture
    presence: float | None


@dataclass(frozen=True)
class WordExamples:
    """Examples that show a word, the best first, and examples whose caption contains it by mistake."""

    shows: tuple[ShownExample, ...]
    unlikely: tuple[ShownExample, ...]


def read_words(directory: str, most: int = WORDS_SHOWN) -> list[dict[str, Any]]:
    """Captions directory -> the most important rows of `word_importance`, without stop words."""
    return [row for row in read_table(directory, WORD) if not row["stop_word"]][:most]


def read_examples(directory: str, most: int = WORDS_WITH_PICTURES) -> dict[str, WordExamples]:
    """Captions directory -> word -> its examples, for the most important words, in their order."""
    path = result_path(directory, EVIDENCE)
    examples: dict[str, WordExamples] = {}
    require_result(directory, path)
    with storage.open_own(path) as lines:
        for row in parse_lines(lines, _EvidenceRow, path, RENEW):
            if row.kind != WORD or len(examples) == most:
                break
            likely_false = {example.sha256 for example in row.likely_false}
            shown = {example.sha256: example for example in (*row.top, *row.sample)}
            shows = [
                example.shown()
                for sha256, example in shown.items()
                if sha256 not in likely_false and (example.presence is None or example.presence >= LIKELY_FALSE)
            ]
            shows.sort(key=lambda example: -1.0 if example.presence is None else -example.presence)
            examples[row.word] = WordExamples(tuple(shows), tuple(example.shown() for example in row.likely_false))
    return examples


@dataclass(frozen=True)
class _EvidenceExample:
    uri: str
    sha256: Hex
    caption: str
    presence: Share | None = None

    def shown(self) -> ShownExample:
        return ShownExample(ShownPicture(self.uri, self.sha256, self.caption), self.presence)


@dataclass(frozen=True)
class _EvidenceRow:
    """Schema of a line of `word_evidence.jsonl`."""

    kind: str
    word: str
    top: tuple[_EvidenceExample, ...]
    sample: tuple[_EvidenceExample, ...]
    likely_false: tuple[_EvidenceExample, ...]


@dataclass(frozen=True)
class Rejected:
    """Rejected files of a collection.

    Attributes:
      total: their number.
      lines: ledger lines of the first of them, by address.
      reasons: the commonest ((stage, reason), number of files), the commonest first.
    """

    total: int
    lines: tuple[LedgerLine, ...] = ()
    reasons: tuple[tuple[tuple[str, str], int], ...] = ()


def read_rejected(directory: str, total: int) -> Rejected:
    """Captions directory and the number of its rejected files -> Rejected; no ledger is read where there are none."""
    if not total:
        return Rejected(0)
    rejected = rejected_inputs(counted_ledgers(directory))
    reasons = Counter((line.stage, line.reason) for line in rejected.values())
    shown = tuple(rejected[uri] for uri in heapq.nsmallest(REJECTED_SHOWN, rejected))
    return Rejected(len(rejected), shown, tuple(reasons.most_common(REASONS_SHOWN)))


def common_folder(uris: Iterable[str]) -> str:
    """Addresses -> the deepest folder, or folder in an archive, that holds them all, with its slash; or ""."""
    uris = list(uris)
    shared = os.path.commonprefix([min(uris), max(uris)]) if uris else ""  # noqa: RUF071 (cut at a / below)
    return shared[: shared.rfind("/") + 1]


def folder_name(folder: str) -> str:
    """Folder that ends with a slash -> its name without the path; for the root of an archive, the archive's."""
    return utf8(posixpath.basename(folder.removesuffix("/").removesuffix(MEMBER_SEPARATOR[0])))


def link_to(uri: str, page: str) -> str:
    """Address of a picture -> target of a link to it, or "" where no browser can open it (members of archives, stores).

    Links to files are relative, so page and pictures can move together.

    Args:
      page: folder of the page.
    """
    if split_member_uri(uri) is not None:
        return ""
    if not storage.is_local(uri):
        return quote(uri, safe=":/?#[]@!$&'()*+,;=~%") if uri.startswith(("http://", "https://")) else ""
    if not storage.is_local(page):
        return ""
    path = quote(os.fsencode(os.path.relpath(uri, page)))
    return path if path.startswith("../") else f"./{path}"  # a colon in a first part would look like a scheme


def columns(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of `word_importance` -> rows of the page, rounded."""
    for row in rows:
        yield {
            "word": utf8(row["word"]),
            "lemma": utf8(row["lemma"]),
            "importance": _rounded(row["importance"], 5),
            "estimate": _rounded(row["estimate"], 2),
            "low": _rounded(row["estimate_low"], 2),
            "high": _rounded(row["estimate_high"], 2),
            "images": row["images"],
            "z": _rounded(row["z"], 2),
        }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
