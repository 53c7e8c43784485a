"""The options of the commands that turn finished captions into something else: `report`, `compare`, `export`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from training.option_fields import option, positive, share

CSV, PARQUET, COCO, TXT, XMP, METADATA, WEBDATASET = FORMATS = (
    "csv",
    "parquet",
    "coco",
    "txt",
    "xmp",
    "metadata",
    "webdataset",
)
ONE_FILE = (CSV, PARQUET, COCO)  # the others make a folder of files
SHORT, FULL = SIDECAR_NAMES = ("short", "full")
SKIP, APPEND, OVERWRITE = MODES = ("skip", "append", "overwrite")

_captions = partial(option, "directory that caption made", "DIR", positional=True)


@dataclass(frozen=True)
class ReportOptions:
    """Settings of `captionbeam report`."""

    captions: str = _captions()
    output: str | None = option("page to write", "FILE", default_text="report.html in DIR")


@dataclass(frozen=True)
class CompareOptions:
    """Settings of `captionbeam compare`."""

    first: str = option("directory that caption made", "A", positional=True)
    second: str = option("another one, made with the same captioner", "B", positional=True)
    output: str = option(
        "CSV file to write; a page with the same name, but .html, is written beside it",
        "FILE",
        default="comparison.csv",
    )


@dataclass(frozen=True)
class ExportOptions:
    """Settings of `captionbeam export`; either output or in_place is given."""

    captions: str = _captions()
    format: str | None = option(
        "csv, parquet, coco: one file; txt, xmp: a file for each picture; metadata: copies of the pictures with "
        "description and keywords in them; webdataset: tar files with pictures and captions",
        choices=FORMATS,
        default=None,
    )
    output: str | None = option(
        "file to write (csv, parquet, coco), - for standard output, or folder to write to; its subfolders are those of "
        "the collection",
        "PATH",
        one_of="place",
        default=None,
    )
    in_place: bool = option(
        "txt, xmp: write the files beside the pictures; metadata: write into the pictures, whose pixels stay as "
        "they are",
        one_of="place",
        default=False,
    )
    mode: str | None = option(
        "what to do where a text file, an XMP file or a description exists already", choices=MODES, default_text=SKIP
    )
    remove: bool = option(
        "take back what export wrote in place: all of it, or that of --format; what others wrote stays", default=False
    )
    dry_run: bool = option("only name the files that would be made, changed or removed", default=False)
    keep_times: bool = option(
        "let files that are changed in place have the time of the change", flag="--no-keep-times", default=True
    )
    sidecar_names: str = option(
        "name of a new text or XMP file; short: a.txt for a.jpg, but a.jpg.txt beside an a.png; full: a.jpg.txt",
        choices=SIDECAR_NAMES,
        default=SHORT,
    )
    root: str | None = option(
        "folder that the names in the output are relative to",
        "DIR",
        default_text="the deepest folder that contains every file",
    )
    keyword_presence: float = option(
        "words that a person would use with at least this probability become keywords", "P", share, default=0.3
    )
    samples: int = option("pictures in a WebDataset shard", "N", positive, default=1000)
    min_confidence: float | None = option(
        "leave out the captions that a person would accept with a lower probability; 0 to leave out none",
        "P",
        share,
        default_text="leave out those that caption flagged",
    )
