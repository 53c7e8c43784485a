"""`captionbeam export DIR`: writes finished captions in formats that other programs read."""

from __future__ import annotations

import itertools
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator

from beam_pipeline.exports.picture_metadata import MetadataWriter, UnwritableMetadata
from beam_pipeline.exports.sidecars import add_line, relative_name, sidecar, xmp_packet
from beam_pipeline.exports.tables import write_coco, write_csv, write_parquet
from beam_pipeline.exports.webdataset import holds, shard_name, write_shard
from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.inputs.reader import PictureReader, require_unchanged
from beam_pipeline.options.results import (
    APPEND,
    COCO,
    CSV,
    FORMATS,
    METADATA,
    MODES,
    PARQUET,
    SKIP,
    TXT,
    WEBDATASET,
    XMP,
    ExportOptions,
)
from beam_pipeline.results.caption_index import CaptionedFile, CaptionIndex
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.extras import require
from beam_pipeline.runtime.text import reason, utf8
from beam_pipeline.shards.ledger import DUPLICATE, REJECTED
from beam_pipeline.shards.output_directory import exclusive
from beam_pipeline.words.summary import read_summary
from training.errors import JobFailed, UserError
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

TABLES = {CSV: write_csv, PARQUET: write_parquet, COCO: write_coco}
SIDECARS = (TXT, XMP)
_IN_ARCHIVE = "is in an archive, and archives are not changed; give --output"
# What became of a file, or of a picture for webdataset.
WRITTEN, UNCHANGED, FAILED = "written", "unchanged", "failed"
WITHHELD = "without caption (low confidence)"


def export(options: ExportOptions) -> dict[str, int]:
    """Writes the captions of a directory in another format; returns and prints how many files had which outcome.

    Returns:
      WRITTEN, UNCHANGED, FAILED or WITHHELD -> number of files (for webdataset: of pictures), where it is not 0.

    Raises:
      UserError: an invalid option, or no finished captions; nothing was written.
      JobFailed: the output cannot be written, or some files failed; the others were written.
    """
    _check(options)
    summary = read_summary(options.captions, "DIR")
    if options.min_confidence and not summary["made_with"].get("confidence"):
        raise UserError(
            f"--min-confidence {options.min_confidence:g}: the captions of {options.captions} carry no confidence; "
            "caption again with a captioner that has one"
        )
    with CaptionIndex(options.captions, options.keyword_presence, options.min_confidence) as index:
        root = index.common_folder() if options.root is None else _as_folder(options.root)
        if options.format in TABLES:
            done = _write_table(options, index, root)
        elif options.format == WEBDATASET:
            done = _write_webdataset(options, index)
        else:
            done = _write_beside(options, index, root)
        _print_balance(options, index.counts(), done)
    if done[FAILED]:
        unit = "picture" if options.format == WEBDATASET else "file"
        raise JobFailed(
            f"{counted(done[FAILED], unit)} could not be exported, as listed above; fix the cause and run the command "
            "again, which keeps what is written"
        )
    return dict(+done)


def _check(options: ExportOptions) -> None:
    what = f"--format {options.format}"
    if options.format not in FORMATS:
        raise UserError(f"{what}: expected one of {', '.join(FORMATS)}")
    if bool(options.output) == options.in_place:
        raise UserError("export: expected either --output or --in-place")
    takes_mode = options.format in (*SIDECARS, METADATA)
    if options.in_place and not takes_mode:
        raise UserError(f"--in-place: only for --format txt, xmp and metadata; {what} takes --output")
    if options.mode is not None and not takes_mode:
        raise UserError(f"--mode: only for --format txt, xmp and metadata; {what} replaces its file")
    if options.mode not in (None, *MODES):
        raise UserError(f"--mode {options.mode}: expected one of {', '.join(MODES)}")
    if options.format == XMP and options.mode == APPEND:
        raise UserError("--mode append: not for --format xmp, whose files are not merged; give skip or overwrite")
    if options.output and options.format == WEBDATASET and not storage.is_local(options.output):
        raise UserError(f"--output {options.output}: WebDataset shards need a local folder; copy them from there")
    if options.output and options.format in TABLES and os.path.isdir(options.output):
        raise UserError(f"--output {options.output}: is a folder; {what} writes a file")
    if options.format == METADATA:
        require("pyexiv2", "metadata", "--format metadata")


def _as_folder(root: str) -> str:
    return storage.absolute(root).rstrip("/") + "/"


def _print_balance(options: ExportOptions, counts: dict[str, int], done: Counter[str]) -> None:
    files, rejected = sum(counts.values()), counts[REJECTED]
    duplicates = counted(counts[DUPLICATE], "duplicate")
    print(f"{counted(files, 'file')} = {files - rejected:,} captioned ({duplicates}) + {rejected:,} rejected")
    names = (WRITTEN, UNCHANGED, FAILED, *((WITHHELD,) if done[WITHHELD] else ()))
    parts = " + ".join(f"{done[name]:,} {name}" for name in names)
    unit = "distinct picture" if options.format == WEBDATASET else "captioned file"
    print(f"{options.output or 'in place'}: {counted(done.total(), unit)} = {parts}")


def _failed(uri: str, why: str) -> str:
    log.warning("%s: %s", utf8(uri), why)
    return FAILED


# One file.


def _write_table(options: ExportOptions, index: CaptionIndex, root: str) -> Counter[str]:
    assert options.output
    try:
        with storage.new_file(storage.absolute(options.output)) as local:
            TABLES[options.format](local, index.files(), lambda uri: relative_name(uri, root))
    except OSError as error:
        raise JobFailed(f"--output {options.output}: cannot be written ({reason(error)}); choose another") from error
    counts, withheld = index.counts(), index.withheld()
    return +Counter({WRITTEN: sum(counts.values()) - counts[REJECTED] - withheld, WITHHELD: withheld})


# A file for each picture.


def _write_beside(options: ExportOptions, index: CaptionIndex, root: str) -> Counter[str]:
    output = storage.absolute(options.output) if options.output else None

    def place(uri: str) -> str:
        """Path of a picture, or of its mirror in the output."""
        return uri if output is None else storage.join(output, relative_name(uri, root))

    def run(write: Callable[[CaptionedFile], str]) -> Counter[str]:
        return Counter(_guarded(write, file) for file in index.files())

    mode = options.mode or SKIP
    if options.format == METADATA:
        with MetadataWriter() as writer:
            reader = PictureReader()
            if output is None:
                return run(lambda file: _write_into(file, mode, reader, writer))
            return run(lambda file: _write_copy(file, place(file.uri), mode, index, reader, writer))
    ending = f".{options.format}"

    def write_sidecar(file: CaptionedFile) -> str:
        if output is None and split_member_uri(file.uri):
            return _failed(file.uri, _IN_ARCHIVE)
        return _write_sidecar(file, sidecar(place(file.uri), ending, index.shares_stem(file.uri)), mode, ending)

    return run(write_sidecar)


def _guarded(write: Callable[[CaptionedFile], str], file: CaptionedFile) -> str:
    """Writes for one file -> its outcome; where that fails, a warning names the file."""
    if file.withheld:
        return WITHHELD
    try:
        return write(file)
    except OSError as error:
        return _failed(file.uri, reason(error))
    except UnwritableMetadata as error:
        return _failed(file.uri, str(error))


def _write_sidecar(file: CaptionedFile, path: str, mode: str, ending: str) -> str:
    exists = storage.exists(path)
    if exists and mode == SKIP:
        return UNCHANGED
    before = storage.read_bytes(path) if exists else None
    if ending == ".xmp":
        data = xmp_packet(file.caption, file.keywords)
    else:
        kept = (before or b"").decode("utf-8", "surrogateescape") if mode == APPEND else ""
        text = add_line(kept, file.caption)
        if text is None:
            return UNCHANGED
        data = text.encode("utf-8", "surrogateescape")
    if data == before:
        return UNCHANGED
    _write(path, data)
    return WRITTEN


def _write_copy(
    file: CaptionedFile, path: str, mode: str, index: CaptionIndex, reader: PictureReader, writer: MetadataWriter
) -> str:
    if storage.exists(path):
        if index.holds(path) or (storage.is_local(file.uri) and os.path.realpath(path) == os.path.realpath(file.uri)):
            return _failed(
                file.uri, f"its copy would overwrite {path}, a picture of the collection; choose another --output"
            )
        if mode == SKIP:
            return UNCHANGED
    data = reader.read_unchanged(file.uri, file.sha256)
    _write(path, writer.write(data, file.caption, file.keywords, mode) or data)
    return WRITTEN


def _write_into(file: CaptionedFile, mode: str, reader: PictureReader, writer: MetadataWriter) -> str:
    if split_member_uri(file.uri):
        return _failed(file.uri, _IN_ARCHIVE)
    data = reader.read(file.uri)
    written = writer.write(data, file.caption, file.keywords, mode)
    if written is None:  # an earlier export changed its bytes, and it has the caption
        return UNCHANGED
    require_unchanged(data, file.sha256)
    _replace(file.uri, written)
    return WRITTEN


def _write(path: str, data: bytes) -> None:
    if storage.is_local(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    storage.write_atomic(path, data)


def _replace(path: str, data: bytes) -> None:
    """Replaces the content of a picture; its permissions and symbolic links to it stay."""
    if not storage.is_local(path):
        storage.write_atomic(path, data)
        return
    real = os.path.realpath(path)
    mode = stat.S_IMODE(os.stat(real).st_mode)
    storage.write_atomic(real, data)
    os.chmod(real, mode)


# WebDataset.


def _write_webdataset(options: ExportOptions, index: CaptionIndex) -> Counter[str]:
    assert options.output
    output = storage.absolute(options.output)
    reader, done = PictureReader(), Counter[str]()

    def shown() -> Iterator[tuple[CaptionedFile, ...]]:
        for files in index.pictures():
            if files[0].withheld:
                done[WITHHELD] += 1
            else:
                yield files

    def read(files: tuple[CaptionedFile, ...]) -> bytes | None:
        for file in files:
            try:
                return reader.read_unchanged(file.uri, file.sha256)
            except OSError as error:
                problem = error
        _failed(files[0].uri, reason(problem))
        return None

    with exclusive(output):
        for number, pictures in enumerate(_batches(shown(), options.samples)):
            path = storage.join(output, shard_name(number))
            if holds(path, pictures):
                done[UNCHANGED] += len(pictures)
                continue
            with storage.new_file(path) as local, open(local, "wb") as file:
                written = write_shard(file, pictures, read)
            done[WRITTEN] += written
            done[FAILED] += len(pictures) - written
    return done


def _batches(pictures: Iterator[tuple[CaptionedFile, ...]], size: int) -> Iterator[list[tuple[CaptionedFile, ...]]]:
    while batch := list(itertools.islice(pictures, size)):
        yield batch
