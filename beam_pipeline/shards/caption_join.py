"""Captions that people wrote find their pictures, by image name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.runtime.counts import COUNTS, NOTES, Outputs, count, note, tagged_outputs
from beam_pipeline.runtime.grouping import CoGroupInBuckets
from beam_pipeline.runtime.text import uri_key
from training.data.caption_files import CaptionFile, CaptionRow, normalized_name


@dataclass(frozen=True)
class InputWithCaptions:
    """An input and what people wrote of it."""

    file: InputFile
    captions: tuple[str, ...] = ()


class JoinCaptions(beam.PTransform):
    """InputFile -> InputWithCaptions, joined by image name.

    Counts caption rows, rows whose picture is missing, pictures without a caption, repeated rows and unreadable lines.
    """

    def __init__(self, captions: CaptionFile):
        super().__init__()
        self.captions = captions

    def expand(self, files):
        rows = tagged_outputs(
            files.pipeline | "CaptionFile" >> beam.Create([self.captions]), "ReadCaptions", read_caption_rows
        )
        by_name = files | "NameOfFile" >> beam.Map(lambda file: (uri_key(_base_name(file.uri)), file))
        joined = tagged_outputs(
            {"files": by_name, "rows": rows.main} | "GroupByImageName" >> CoGroupInBuckets(),
            "MatchCaptions",
            match_captions,
        )
        return Outputs(
            joined.main,
            (rows[COUNTS], joined[COUNTS]) | "CaptionCounts" >> beam.Flatten(),
            (rows[NOTES], joined[NOTES]) | "CaptionNotes" >> beam.Flatten(),
        )


def read_caption_rows(captions: CaptionFile) -> Iterator[Any]:
    """CaptionFile -> (normalised base name of the image, CaptionRow)."""
    for row in captions:
        yield uri_key(_base_name(row.image)), row
    yield count("caption_rows", captions.rows)
    yield count("caption_lines_unreadable", captions.bad_lines)
    for problem in captions.problems:
        yield note("caption_lines_unreadable", str(problem))


def match_captions(group: tuple[bytes, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Files and caption rows of one base name -> InputWithCaptions for every file.

    A row names its picture exactly, by file name or by the end of its path; where no file is called exactly so, one
    whose name is the same in Unicode's composed form takes it. What a container says of its picture comes first and
    is not said twice.
    """
    _, grouped = group
    files = sorted(grouped["files"], key=lambda file: file.uri)
    texts = {file.uri: list(file.captions) for file in files}
    seen: set[tuple[str, str]] = set()
    unmatched = 0
    for row in sorted(grouped["rows"], key=lambda row: row.line):
        owners = _files_named(row, files)
        for file in {file.uri: file for file in owners}.values():  # a list may name a file twice
            if row.text not in file.captions:
                texts[file.uri].append(row.text)
        if not owners:
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
