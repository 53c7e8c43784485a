"""`captionbeam export DIR`: writes finished captions in formats that other programs read."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator

from beam_pipeline.exports.embedded import UnwritableMetadata
from beam_pipeline.exports.outcomes import FAILED, TAKEN_BACK, UNCHANGED, WITHHELD, WRITTEN
from beam_pipeline.exports.picture_files import PictureFiles
from beam_pipeline.exports.picture_metadata import MetadataWriter
from beam_pipeline.exports.places import Places
from beam_pipeline.exports.sidecars import relative_name
from beam_pipeline.exports.tables import write_coco, write_csv, write_parquet
from beam_pipeline.exports.text_files import TextFiles
from beam_pipeline.exports.text_journal import TextJournal
from beam_pipeline.exports.texts import UnknownText
from beam_pipeline.exports.webdataset import holds, shard_name, write_shard
from beam_pipeline.exports.xmp import UnreadableXmp
from beam_pipeline.exports.xmp_files import XmpFiles
from beam_pipeline.exports.xmp_merge import Words
from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.results import (
    COCO,
    CSV,
    FORMATS,
    FULL,
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
from beam_pipeline.runtime.named_output import STANDARD_OUTPUT, NamedOutput, named_output
from beam_pipeline.runtime.text import reason, utf8
from beam_pipeline.shards.ledger import DUPLICATE, REJECTED
from beam_pipeline.shards.output_directory import exclusive
from beam_pipeline.words.summary import read_summary
from training.errors import JobFailed, UserError
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

TABLES = {CSV: write_csv, PARQUET: write_parquet, COCO: write_coco}
FILES = (TXT, XMP, METADATA)  # a file for each picture, beside it or in a mirror


def export(options: ExportOptions) -> dict[str, int]:
    """Writes the captions of a directory in another format; returns and prints how many files had which outcome.

    Returns:
      WRITTEN, UNCHANGED, FAILED, WITHHELD or TAKEN_BACK -> number of files (for webdataset: of pictures), where it is
      not 0. Of a dry run, what they would be.

    Raises:
      UserError: an invalid option, or no finished captions; nothing was written.
      JobFailed: the output cannot be written, or some files failed; the others were written.
    """
    _check(options)
    output = named_output(options.output) if options.output and options.format in TABLES else None
    summary = read_summary(options.captions, "DIR")
    if options.min_confidence and not summary["made_with"].get("confidence"):
        raise UserError(
            f"--min-confidence {options.min_confidence:g}: the captions of {options.captions} carry no confidence; "
            "caption again with a captioner that has one"
        )
    with contextlib.ExitStack() as stack:
        if output:
            stack.enter_context(output.alone())
        index = CaptionIndex(options.captions, options.keyword_presence, options.min_confidence)
        stack.enter_context(index)
        root = index.common_folder() if options.root is None else _as_folder(options.root)
        if options.remove:
            done = _take_back(options, index)
        elif output:
            done = _write_table(options, output, index, root)
        elif options.format == WEBDATASET:
            done = _write_webdataset(options, index)
        else:
            done = _write_beside(options, index, root, str(summary["made_with"].get("model_id", "")))
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
    if options.remove:
        _check_remove(options)
    elif options.format not in FORMATS:
        raise UserError(f"{what}: expected one of {', '.join(FORMATS)}" if options.format else f"give {_FORMAT}")
    if bool(options.output) == options.in_place:
        raise UserError("export: expected either --output or --in-place")
    takes_mode = options.format in FILES
    if options.in_place and not (takes_mode or options.remove):
        raise UserError(f"--in-place: only for --format txt, xmp and metadata; {what} takes --output")
    if options.mode is not None and not takes_mode:
        raise UserError(f"--mode: only for --format txt, xmp and metadata; {what} replaces its file")
    if options.mode not in (None, *MODES):
        raise UserError(f"--mode {options.mode}: expected one of {', '.join(MODES)}")
    if options.output == STANDARD_OUTPUT and options.format not in TABLES:
        raise UserError(f"--output -: {what} writes a folder of files; name a folder")
    if options.output and options.format == WEBDATASET and not storage.is_local(options.output):
        raise UserError(f"--output {options.output}: WebDataset shards need a local folder; copy them from there")
    if options.format == METADATA:
        require("pyexiv2", "metadata", "--format metadata")


_FORMAT = f"--format, one of {', '.join(FORMATS)}"


def _check_remove(options: ExportOptions) -> None:
    if not options.in_place:
        raise UserError("--remove: takes back what was written beside or into the pictures; give --in-place with it")
    if options.format not in (None, *FILES):
        raise UserError(f"--remove: only for --format {', '.join(FILES)}, or without --format for all of them")
    if options.mode is not None:
        raise UserError("--mode: says how to write, and --remove only takes back; leave one of them out")


def _as_folder(root: str) -> str:
    return storage.absolute(root).rstrip("/") + "/"


def _print_balance(options: ExportOptions, counts: dict[str, int], done: Counter[str]) -> None:
    files, rejected = sum(counts.values()), counts[REJECTED]
    duplicates = counted(counts[DUPLICATE], "duplicate")
    print(f"{counted(files, 'file')} = {files - rejected:,} captioned ({duplicates}) + {rejected:,} rejected")
    first = TAKEN_BACK if options.remove else WRITTEN
    names = (first, UNCHANGED, FAILED, *((WITHHELD,) if done[WITHHELD] else ()))
    parts = " + ".join(f"{done[name]:,} {name}" for name in names)
    unit = "distinct picture" if options.format == WEBDATASET else "captioned file"
    place = "in place" if options.in_place else "standard output" if options.output == "-" else options.output
    note = "; a dry run: nothing was changed" if options.dry_run else ""
    print(f"{place}: {counted(done.total(), unit)} = {parts}{note}")


def _failed(uri: str, why: str) -> str:
    about_itself = why.startswith(f"{uri}: ")
    log.warning("%s", utf8(why if about_itself else f"{uri}: {why}"))
    return FAILED


# One file.


def _write_table(options: ExportOptions, output: NamedOutput, index: CaptionIndex, root: str) -> Counter[str]:
    assert options.format
    if any(index.holds(path) for path in {output.path, os.path.realpath(output.path)}):
        raise UserError(f"--output {options.output}: is a picture of the collection; choose another")
    try:
        if options.dry_run:
            verb = "write to" if output.is_stream else "change" if storage.exists(output.path) else "make"
            print(f"would {verb} {utf8(output.name)}")
        else:
            with output.new_file() as local:
                TABLES[options.format](local, index.files(), lambda uri: relative_name(uri, root))
    except OSError as error:
        raise JobFailed(f"--output {options.output}: cannot be written ({reason(error)}); choose another") from error
    counts, withheld = index.counts(), index.withheld()
    return +Counter({WRITTEN: sum(counts.values()) - counts[REJECTED] - withheld, WITHHELD: withheld})


# A file for each picture.


def _write_beside(options: ExportOptions, index: CaptionIndex, root: str, model_id: str) -> Counter[str]:
    output = storage.absolute(options.output) if options.output else None
    is_root = output is not None and os.path.realpath(output) == os.path.realpath(root)
    if is_root and any(not split_member_uri(file.uri) for file in index.files()):
        raise UserError(f"--output {options.output}: is the pictures' own folder; give --in-place, or choose another")
    places = Places(output, root, options.keep_times, options.dry_run)
    mode = options.mode or SKIP

    def run(write: Callable[[CaptionedFile], str]) -> Counter[str]:
        return Counter(WITHHELD if file.withheld else _guarded(write, file) for file in index.files())

    def words(file: CaptionedFile) -> Words:
        return Words(file.caption, file.keywords, mode, model_id, file.sha256)

    def full_name(file: CaptionedFile) -> bool:
        return options.sidecar_names == FULL or index.shares_stem(file.uri)

    if options.format == METADATA:
        with MetadataWriter() as writer:
            pictures = PictureFiles(places, writer)
            if output is None:
                return run(lambda file: pictures.write_into(file, words(file)))
            return run(lambda file: pictures.write_copy(file, words(file), index))
    if options.format == TXT:
        texts = TextFiles(places, TextJournal(options.captions))
        return run(lambda file: texts.write(file, mode, full_name(file)))
    files = XmpFiles(places)
    return run(lambda file: files.write(file, words(file), full_name(file)))


def _take_back(options: ExportOptions, index: CaptionIndex) -> Counter[str]:
    places = Places(None, "", options.keep_times, options.dry_run)
    take_back: list[Callable[[CaptionedFile], str]] = []
    gone: dict[str, str] = {}  # sha256 -> address
    with MetadataWriter() as writer:
        if options.format in (None, TXT):
            take_back.append(TextFiles(places, TextJournal(options.captions)).take_back)
        if options.format in (None, XMP):
            take_back.append(XmpFiles(places).take_back)
        if options.format in (None, METADATA):
            take_back.append(PictureFiles(places, writer).take_back)

        def of_file(file: CaptionedFile) -> str:
            outcomes = {_guarded(one, file) for one in take_back}
            if storage.is_local(file.uri) and not split_member_uri(file.uri) and not places.holds(file.uri):
                gone[file.sha256] = file.uri
            return next(one for one in (FAILED, TAKEN_BACK, UNCHANGED) if one in outcomes)

        done = Counter(of_file(file) for file in index.files())
    if gone:
        for file in index.files():  # it may have been captioned at its new place since
            if file.sha256 in gone and places.holds(file.uri):
                del gone[file.sha256]
    if gone:
        verb, pronoun = ("is", "it") if len(gone) == 1 else ("are", "them")
        log.warning(
            "%s %s no longer there, such as %s; if you moved %s, run `captionbeam caption` on the new folder, and then "
            "this command again",
            *(counted(len(gone), "captioned picture"), verb, utf8(next(iter(gone.values()))), pronoun),
        )
    return done


def _guarded(write: Callable[[CaptionedFile], str], file: CaptionedFile) -> str:
    """Writes for one file -> its outcome; where that fails, a warning names the file."""
    try:
        return write(file)
    except OSError as error:
        return _failed(_place(error, file.uri), reason(error))
    except (UnwritableMetadata, UnknownText, UnreadableXmp) as error:
        return _failed(file.uri, str(error))


def _place(error: OSError, uri: str) -> str:
    """What could not be read or written for a picture: itself, or the file or folder beside it that the error names."""
    name = error.filename
    if not isinstance(name, str) or uri.startswith(name):
        return uri
    folder, base = os.path.split(name)
    return folder if base.startswith(storage.TEMPORARY_PREFIX) else name


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

    with contextlib.nullcontext() if options.dry_run else exclusive(output):
        for number, pictures in enumerate(_batches(shown(), options.samples)):
            path = storage.join(output, shard_name(number))
            if holds(path, pictures):
                done[UNCHANGED] += len(pictures)
                continue
            if options.dry_run:
                print(f"would {'change' if os.path.exists(path) else 'make'} {utf8(path)}")
                done[WRITTEN] += len(pictures)
                continue
            with storage.new_file(path) as local, open(local, "wb") as file:
                written = write_shard(file, pictures, read)
            done[WRITTEN] += written
            done[FAILED] += len(pictures) - written
    return done


def _batches(pictures: Iterator[tuple[CaptionedFile, ...]], size: int) -> Iterator[list[tuple[CaptionedFile, ...]]]:
    while batch := list(itertools.islice(pictures, size)):
        yield batch
