"""Human captions joined with their pictures, by image name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PCollection

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.runtime.counts import FlatMapAndCount, Outputs, count, note, outputs_of
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key
from training.data.caption_files import CaptionFile, CaptionRow, normalized_name


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

    Counts caption rows, rows whose picture is missing, pictures without a caption, repeated rows and unreadable lines.

    Args:
      captions: caption file, or None for the captions that came with the inputs alone.
    """

    def __init__(self, captions: CaptionFile | None):
        super().__init__()
        self.captions = captions

    def expand(self, files: PCollection) -> Outputs:
        if self.captions is None:
            return Outputs(files | "OwnCaptions" >> beam.Map(lambda file: InputWithCaptions(file, file.captions)))
        rows = (
            files.pipeline
            | "CaptionFile" >> beam.Create([self.captions])
            | "ReadCaptions" >> FlatMapAndCount(read_caption_rows)
        )
        by_name = files | "NameOfFile" >> beam.Map(lambda file: (uri_key(_base_name(file.uri)), file))
        groups = {"files": by_name, "rows": rows.main} | "GroupByImageName" >> CoGroupInBuckets()
        joined = groups | "MatchCaptions" >> FlatMapAndCount(match_captions)
        return outputs_of(joined.main, rows, joined)


def read_caption_rows(captions: CaptionFile) -> Iterator[Any]:
    """CaptionFile -> (key of the image's base name, CaptionRow) of each row, counts, and notes of unreadable lines."""
    for row in captions:
        yield uri_key(_base_name(row.image)), row
    yield count("caption_rows", captions.rows)
    yield count("caption_lines_unreadable", captions.bad_lines)
    for problem in captions.problems:
        yield note("caption_lines_unreadable", str(problem))


def match_captions(group: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Files and caption rows of one base name -> InputWithCaptions of every file, counts and notes.

    A row names its picture exactly: by file name, or by the end of its path. Where no file has exactly that name, the
    row goes to files whose name is the same in Unicode's composed form. Captions that came with a file stand first,
    and a row that repeats one of them is left out.
    """
    _, grouped = group
    files = sorted(grouped["files"], key=lambda file: file.uri)
    texts = {file.uri: list(file.captions) for file in files}
    seen: set[tuple[str, str]] = set()
    unmatched = 0
    for row in sorted(grouped["rows"], key=lambda row: row.line):
        named = _files_named(row, files)
        for file in {file.uri: file for file in named}.values():  # a list may name a file twice
            if row.text not in file.captions:
                texts[file.uri].append(row.text)
        if not named:
            unmatched += 1
            yield note("captions_without_picture", row.image)
        if (row.image, row.text) in seen:
            yield count("captions_repeated")
        seen.add((row.image, row.text))
    if unmatched:
        yield count("captions_without_picture", unmatched)
    for file in files:
        if not texts[file.uri]:
            yield count("pictures_without_caption")
            yield note("pictures_without_caption", file.uri)
        yield InputWithCaptions(file, tuple(texts[file.uri]))


def _files_named(row: CaptionRow, files: list[InputFile]) -> list[InputFile]:
    exact = [file for file in files if ("/" + file.uri).endswith("/" + row.image)]
    if exact:
        return exact
    ending = "/" + normalized_name(row.image)
    return [file for file in files if normalized_name("/" + file.uri).endswith(ending)]


def _base_name(path: str) -> str:
    return normalized_name(os.path.basename(path))
