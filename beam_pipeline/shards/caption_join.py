"""Human captions joined with their pictures, by image name."""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.runtime.counts import FlatMapAndCount, Outputs, count, note, outputs_of
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key
from training.data.caption_files import UNREADABLE, CaptionFile, CaptionRow, normalized_name
from training.text.human_captions import MAX_CAPTIONS, OVER_LIMIT, WORDLESS, usable_captions


@dataclass(frozen=True)
class InputWithCaptions:
    """An input and its human captions.

    Attributes:
      file: the input.
      captions: what people wrote about it.
      rejected: where it is tried again: (stage, reason) of the run that rejected it.
    """

    file: InputFile
    captions: tuple[str, ...] = ()
    rejected: tuple[str, str] | None = None


class JoinCaptions(beam.PTransform):
    """InputFile -> Outputs of InputWithCaptions, joined by image name.

    Counts caption rows, rows whose picture is missing, pictures without a caption, repeated rows, lines that give no
    caption, and captions that are left out.

    Args:
      captions: caption file, or None for the captions that came with the inputs alone.
    """

    def __init__(self, captions: CaptionFile | None):
        super().__init__()
        self.captions = captions

    def expand(self, files: PCollection) -> Outputs:
        own = files | "OwnCaptions" >> FlatMapAndCount(clean_own_captions)
        if self.captions is None:
            return outputs_of(own.main | "Join" >> beam.Map(lambda file: InputWithCaptions(file, file.captions)), own)
        rows = (
            files.pipeline
            | "CaptionFile" >> beam.Create([self.captions])
            | "ReadCaptions" >> FlatMapAndCount(read_caption_rows)
        )
        by_name = own.main | "NameOfFile" >> beam.Map(lambda file: (uri_key(_base_name(file.uri)), file))
        groups = {"files": by_name, "rows": rows.main} | "GroupByImageName" >> CoGroupInBuckets()
        joined = groups | "MatchCaptions" >> FlatMapAndCount(match_captions)
        return outputs_of(joined.main, own, rows, joined)


def clean_own_captions(file: InputFile) -> Iterator[Any]:
    """InputFile -> the same with those of its own captions that are of use, and counts and notes of the others."""
    if not file.captions:
        yield file
        return
    found: Counter[str] = Counter()
    yield replace(file, captions=usable_captions(file.captions, found))
    for kind, number in found.items():
        yield count(kind, number)
        if kind in (WORDLESS, OVER_LIMIT):
            yield note(kind, file.uri)


def read_caption_rows(captions: CaptionFile) -> Iterator[Any]:
    """CaptionFile -> (key of the image's base name, CaptionRow) of each row, counts, and notes of other lines."""
    for row in captions:
        yield uri_key(_base_name(row.image)), row
    yield count("caption_rows", captions.rows)
    for kind, number in ({UNREADABLE: 0} | captions.counts).items():
        yield count(kind, number)
    for problem in captions.problems:
        yield note(problem.kind, str(problem))


def match_captions(group: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Files and caption rows of one base name -> InputWithCaptions of every file, counts and notes.

    A row names its picture exactly: by file name, or by the end of its path. Where no file has exactly that name, the
    row goes to files whose name is the same in Unicode's composed form. Captions that came with a file stand first,
    and a row that repeats one of them is left out. A file gets at most MAX_CAPTIONS. The time is linear in files and
    rows.
    """
    _, grouped = group
    files = sorted(grouped["files"], key=lambda file: file.uri)
    rows: defaultdict[str, list[CaptionRow]] = defaultdict(list)
    for row in sorted(grouped["rows"], key=lambda row: row.line):
        rows[row.image].append(row)
    exact = _ByEnding({file.uri: "/" + file.uri for file in files})
    normal = _ByEnding({file.uri: normalized_name("/" + file.uri) for file in files})
    of_file: defaultdict[str, list[list[CaptionRow]]] = defaultdict(list)  # rows of each name that names the file
    for image, named_so in rows.items():
        if repeated := len(named_so) - len({row.text for row in named_so}):
            yield count("captions_repeated", repeated)
        uris = exact.ending_in(image) or normal.ending_in(normalized_name(image))
        for uri in uris:
            of_file[uri].append(named_so)
        if not uris:
            yield count("captions_without_picture", len(named_so))
            yield note("captions_without_picture", image)
    for file in files:
        # A name that many files end in may have many rows: of these, each file looks at few.
        looked_at = itertools.islice(heapq.merge(*of_file[file.uri], key=lambda row: row.line), MAX_CAPTIONS)
        texts = [*file.captions, *(row.text for row in looked_at if row.text not in file.captions)]
        left_out = max(sum(map(len, of_file[file.uri])) - MAX_CAPTIONS, 0) + max(len(texts) - MAX_CAPTIONS, 0)
        if left_out:
            yield count(OVER_LIMIT, left_out)
            yield note(OVER_LIMIT, file.uri)
        if not texts:
            yield count("pictures_without_caption")
            yield note("pictures_without_caption", file.uri)
        yield InputWithCaptions(file, tuple(texts[:MAX_CAPTIONS]))


class _ByEnding:
    """Finds paths by their ending, from one `/` on.

    Args:
      paths: key -> path; a path begins with `/`.
    """

    def __init__(self, paths: dict[str, str]):
        self._paths = paths
        self._found: dict[int, dict[str, list[str]]] = {}

    def ending_in(self, ending: str) -> list[str]:
        """Ending of a path -> keys of the paths that end in it, from one `/` on."""
        parts = ending.count("/") + 1
        if parts not in self._found:
            of_length: dict[str, list[str]] = {}
            for key, path in self._paths.items():
                _, *last = path.rsplit("/", parts)
                if len(last) == parts:
                    of_length.setdefault("/".join(last), []).append(key)
            self._found[parts] = of_length
        return self._found[parts].get(ending, [])


def _base_name(path: str) -> str:
    return normalized_name(os.path.basename(path))
