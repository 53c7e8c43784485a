"""The options of the commands that turn finished captions into something else: `report`, `compare`, `export`."""

from __future__ import annotations

from dataclasses import dataclass, field

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
SKIP, APPEND, OVERWRITE = MODES = ("skip", "append", "overwrite")

_CAPTIONS = option("directory that caption made", "DIR", positional=True)


@dataclass(frozen=True)
class ReportOptions:
    """Settings of `captionbeam report`."""

    captions: str = field(metadata=_CAPTIONS)
    output: str | None = field(
        default=None, metadata=option("page to write", "FILE", default_text="report.html in DIR")
    )


@dataclass(frozen=True)
class CompareOptions:
    """Settings of `captionbeam compare`."""

    first: str = field(metadata=option("directory that caption made", "A", positional=True))
    second: str = field(metadata=option("another one, made with the same captioner", "B", positional=True))
    output: str = field(
        default="comparison.csv",
        metadata=option("CSV file to write; a page with the same name, but .html, is written beside it", "FILE"),
    )


@dataclass(frozen=True)
class ExportOptions:
    """Settings of `captionbeam export`; either output or in_place is given."""

    captions: str = field(metadata=_CAPTIONS)
    format: str = field(
        metadata=option(
            "csv, parquet, coco: one file; txt, xmp: a file for each picture; metadata: copies of the pictures with "
            "description and keywords in them; webdataset: tar files with pictures and captions",
            choices=FORMATS,
        )
    )
    output: str | None = field(
        default=None,
        metadata=option(
            "file to write (csv, parquet, coco), or folder to write to; its subfolders are those of the collection",
            "PATH",
            one_of="place",
        ),
    )
    in_place: bool = field(
        default=False,
        metadata=option(
            "txt, xmp: write the files beside the pictures; metadata: write into the pictures, whose pixels stay as "
            "they are",
            one_of="place",
        ),
    )
    mode: str | None = field(
        default=None,
        metadata=option(
            "what to do where a text file, an XMP file or a description exists already",
            choices=MODES,
            default_text=SKIP,
        ),
    )
    root: str | None = field(
        default=None,
        metadata=option(
            "folder that the names in the output are relative to",
            "DIR",
            default_text="the deepest folder that contains every file",
        ),
    )
    keyword_presence: float = field(
        default=0.3,
        metadata=option("words that a person would use with at least this probability become keywords", "P", share),
    )
    samples: int = field(default=1000, metadata=option("pictures in a WebDataset shard", "N", positive))
    min_confidence: float | None = field(
        default=None,
        metadata=option(
            "leave out the captions that a person would accept with a lower probability; 0 to leave out none",
            "P",
            share,
            default_text="leave out those that caption flagged",
        ),
    )
