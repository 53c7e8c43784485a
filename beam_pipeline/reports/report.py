"""`captionbeam report`: the results of a captioning as one HTML page that needs no network."""

from __future__ import annotations

import base64
import logging
import os
import re
from typing import Any

from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS, DecodeLimits
from beam_pipeline.options.results import ReportOptions
from beam_pipeline.reports.charts import BARS, importance_chart
from beam_pipeline.reports.page import render
from beam_pipeline.reports.report_data import (
    Rejected,
    ShownExample,
    ShownPicture,
    WordExamples,
    columns,
    common_folder,
    folder_name,
    link_to,
    read_examples,
    read_rejected,
    read_words,
    sample_pictures,
)
from beam_pipeline.reports.thumbnails import ThumbnailStore, Wanted, update_thumbnails
from beam_pipeline.reports.wording import flag_labels, flags_in_words, settings_in_words
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.named_output import NamedOutput, named_output
from beam_pipeline.runtime.text import utf8, why
from beam_pipeline.shards.balance import notices
from beam_pipeline.words.summary import read_summary
from training.errors import JobFailed, UserError
from training.files import replace_file
from training.own_names import REPORT
from training.text.plurals import counted

log = logging.getLogger("captionbeam")

MAX_PAGE_BYTES = 20_000_000  # a page that would be larger has its thumbnails beside it
_THUMBNAIL = re.compile(r"[0-9a-f]{64}\.jpg")


def report(options: ReportOptions) -> str:
    """Writes the report page of a captions directory and prints its path; returns the path.

    The page shows the thumbnails that an earlier report stored, and new ones of local pictures that still exist.

    Raises:
      UserError: the directory holds no finished captions, or a damaged file.
      JobFailed: the page cannot be written.
    """
    directory = storage.absolute(options.captions)
    summary = read_summary(directory, "DIR")
    output = named_output(options.output) if options.output else _page_of(directory)
    with output.alone():
        try:
            read = _read(directory, summary, output, DEFAULT_DECODE_LIMITS, remote=False)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{directory}: damaged results ({error!r}); run captionbeam caption again") from error
        try:
            print(_write(directory, output, read))
        except OSError as error:
            raise JobFailed(f"{output.path}: cannot be written ({why(error)}); choose another --output") from error
    return output.path


def report_of_caption(directory: str, limits: DecodeLimits) -> None:
    """Writes the report page at the end of `captionbeam caption`; if that fails, one line says why.

    Args:
      directory: captions directory, finished.
      limits: on decoding, for new thumbnails.
    """
    page = _page_of(directory)
    try:
        print(write_report(directory, read_summary(directory, "--output"), page, limits, remote=True))
    except Exception as error:  # the captions are committed, and a page is no reason to fail
        log.debug("no report", exc_info=True)
        said = why(error).removeprefix(f"{page.path}: ")
        log.warning("%s: not written (%s); `captionbeam report %s` tries again", page.path, said, directory)


def _page_of(directory: str) -> NamedOutput:
    """Captions directory -> its own page."""
    return NamedOutput(storage.join(directory, REPORT), follows_links=False)


def write_report(
    directory: str, summary: dict[str, Any], output: NamedOutput, limits: DecodeLimits, remote: bool
) -> str:
    """Writes the report page, and too many thumbnails into a folder beside it; returns a message with the path.

    Args:
      directory: captions directory.
      summary: content of its `summary.json`.
      output: page to write.
      limits: on decoding, for new thumbnails.
      remote: whether pictures at remote addresses may be opened for thumbnails.
    """
    return _write(directory, output, _read(directory, summary, output, limits, remote))


def _read(
    directory: str, summary: dict[str, Any], output: NamedOutput, limits: DecodeLimits, remote: bool
) -> tuple[dict[str, Any], list[str]]:
    """Arguments as for `write_report` -> (context of the page, hex sha256 of the pictures that it shows)."""
    sample = sample_pictures(directory)
    examples = read_examples(directory)
    pictures = _each_once(sample, examples)
    wanted = [Wanted(picture.sha256, picture.uri) for picture in pictures]
    try:
        update_thumbnails(directory, wanted, limits, remote)
    except (OSError, UserError) as error:  # a directory that is read-only, or no decoder process
        log.warning("%s: no new thumbnails (%s)", directory, error)
    rejected = read_rejected(directory, summary["totals"]["rejected"])
    words = list(columns(read_words(directory)))
    context = {
        "summary": summary,
        "totals": summary["totals"],
        "notes": notices(summary["totals"]),
        "flags": flags_in_words(summary["flags"]),
        "settings": settings_in_words(summary),
        "has_presence": "presence" in summary["evidence"],
        "rejected": rejected,
        **_content(pictures, len(sample), words, examples, rejected, summary["pictures"], _folder_of(output)),
    }
    return context, [one.sha256 for one in pictures]


def _write(directory: str, output: NamedOutput, read: tuple[dict[str, Any], list[str]]) -> str:
    """Writes what `_read` gave -> message with the path of the page."""
    context, shown = read
    beside = _write_page(output, _folder_of(output), context, shown, directory)
    moved = f"; its thumbnails are in {beside}/ beside it" if beside else ""
    pictures, words = counted(context["data"]["sampled"], "picture"), counted(len(context["data"]["words"]), "word")
    return f"{output.name}: report of {pictures} and {words}{moved}"


def _folder_of(output: NamedOutput) -> str:
    """Page -> path of the folder that it is in."""
    page = output.path
    return os.path.dirname(page) if storage.is_local(page) else page.rpartition("/")[0]


def _each_once(sample: list[ShownPicture], examples: dict[str, WordExamples]) -> list[ShownPicture]:
    """The sample, then the examples of words that are not in it."""
    shown = {picture.sha256: picture for picture in sample}
    for of_word in examples.values():
        for example in (*of_word.shows, *of_word.unlikely):
            shown.setdefault(example.picture.sha256, example.picture)
    return list(shown.values())


def _content(
    pictures: list[ShownPicture],
    sampled: int,
    words: list[dict[str, Any]],
    examples: dict[str, WordExamples],
    rejected: Rejected,
    documents: int,
    folder: str,
) -> dict[str, Any]:
    """The part of the context that depends on pictures and words: name of the collection and data of the scripts."""
    shared = common_folder([*(one.uri for one in pictures), *(line.uri for line in rejected.lines)])
    numbers = {picture.sha256: number for number, picture in enumerate(pictures)}

    def numbered(shown: tuple[ShownExample, ...]) -> list[tuple[int, float | None]]:
        return [(numbers[example.picture.sha256], example.presence) for example in shown]

    data = {
        "pictures": [
            {
                "id": one.sha256,
                "name": utf8(one.uri.removeprefix(shared)),
                "link": link_to(one.uri, folder),
                "caption": utf8(one.caption),
                "confidence": None if one.confidence is None else round(one.confidence, 3),
                "flags": one.flags,
            }
            for one in pictures
        ],
        "flags": flag_labels(),
        "sampled": sampled,
        "words": words,
        "examples": {
            utf8(word): {"shows": numbered(of_word.shows), "unlikely": numbered(of_word.unlikely)}
            for word, of_word in examples.items()
        },
        "rejected": [
            {"name": utf8(line.uri.removeprefix(shared)), "stage": line.stage, "reason": utf8(line.reason)}
            for line in rejected.lines
        ],
        "documents": documents,
        "bars": BARS,
        "chart": importance_chart(),
    }
    own = any(picture.has_confidence for picture in pictures)
    return {"name": folder_name(shared) or "Collection", "data": data, "own_confidence": own}


def _write_page(output: NamedOutput, folder: str, context: dict[str, Any], shown: list[str], directory: str) -> str:
    """Writes the page with its thumbnails inside, or in a folder beside it where the page would be too large.

    Beside a stream is no folder.

    Returns:
      The name of that folder, or "".
    """
    with ThumbnailStore(directory) as store:
        shown = [sha256 for sha256 in shown if sha256 in store.sizes]
        context["without_thumbnail"] = len(context["data"]["pictures"]) - len(shown)
        if output.is_stream or sum(store.sizes[sha256] * 4 // 3 for sha256 in shown) <= MAX_PAGE_BYTES:
            embedded = {sha256: base64.b64encode(store.read(sha256)).decode() for sha256 in shown}
            html = _render(context, {"embedded": embedded})
            if output.is_stream or len(html) <= MAX_PAGE_BYTES or not shown:
                output.write(html)
                return ""
        # report.html and report_files/, as browsers save pages, so people know to move both.
        beside = re.sub(r"\.html?$", "", os.path.basename(output.path)) + "_files"
        _write_beside(store, shown, storage.join(folder, beside))
        output.write(_render(context, {"beside": beside, "names": shown}))
        return beside


def _render(context: dict[str, Any], thumbnails: dict[str, Any]) -> bytes:
    beside = thumbnails.get("beside", "")
    return render("report.html", ("common.js", "report.js"), thumbnails=thumbnails, beside=beside, **context)


def _write_beside(store: ThumbnailStore, shown: list[str], folder: str) -> None:
    """Writes thumbnails as files named by sha256, and removes those that only an earlier page showed.

    A link in the place of a thumbnail is replaced and never written through.

    Raises:
      UserError: the folder is a link.
    """
    if storage.is_local(folder) and os.path.islink(folder):
        raise UserError(
            f"{folder}: a link, and thumbnails are not written through one; remove it, or choose another --output"
        )
    storage.make_directory(folder)
    sizes = storage.list_directory(folder)
    names = {f"{sha256}.jpg": sha256 for sha256 in shown}
    for name in sizes.keys() - names.keys():
        if _THUMBNAIL.fullmatch(name):
            storage.remove(storage.join(folder, name))
    for name, sha256 in names.items():
        path, data = storage.join(folder, name), store.read(sha256)
        if sizes.get(name) == len(data) and not (storage.is_local(path) and os.path.islink(path)):
            continue
        if storage.is_local(path):
            replace_file(path, data)  # if a crash cuts it short, its size differs, and the next report repairs it
        else:
            storage.write_atomic(path, data)
