"""captionbeam's own files, which are never inputs, wherever a directory of its lies.

Names alone do not tell: a picture may be called as a file of ours. What lies beside it tells too.
"""

from __future__ import annotations

import os
import re

from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.runtime import storage
from training.files import LOCK

_SHARD = re.compile(r"(features|captions|words|ledger)-\d{4,}-\d{5,}-of-\d{5,}\.(tfrecord|jsonl)")
_LOG = "events.out.tfevents."  # TensorBoard's
# What marks a directory of ours, beside shards; and what is ours in such a directory.
_MARKS = frozenset(("summary.json", "captioner.weights.h5", "scores.json"))
_NAMES = _MARKS | {
    *("manifest.json", "rejected.txt", "int8_encoder.npz", "random_encoder.npz"),
    *("vocabulary.txt", "config.json", "word_counts.json", "presence.npz", "presence.json", "presence_tail.json"),
    *("confidence.npz", "confidence.json", "metrics.json", "progress.json"),
    *("word_importance.csv", "word_importance.parquet", "bigram_importance.csv", "bigram_importance.parquet"),
    *("word_evidence.jsonl", "report.html", "thumbnails.zip", "exported_texts.jsonl"),
    *("captions.json", "confidence_curve.csv", "estimates.jsonl", "word_fidelity.json"),
}
_OF_REPORT, _OF_PAGE = "report_files", "_files"
_THUMBNAIL = re.compile(r"[0-9a-f]{64}\.jpg")
_GENERATOR = b'<meta name="generator" content="captionbeam '
_PAGE_HEAD = 4096  # bytes
_CHECKPOINT = "checkpoint"  # both TensorFlow's folder and the file in it that names the newest


class OwnFiles:
    """Tells captionbeam's own files from others, and keeps what it knows of the directories that it has looked into."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._pages: dict[str, bool] = {}

    def __contains__(self, uri: str) -> bool:
        """Whether a file, or the container of a member, is one of captionbeam's own."""
        member = split_member_uri(uri)
        directory, _, name = (member[0] if member else uri).rpartition("/")
        if name == LOCK or name.startswith(_LOG) or _SHARD.fullmatch(name):
            return True
        if name in _NAMES:
            return self._is_ours(directory)
        if os.path.basename(directory) == _CHECKPOINT and name.startswith((_CHECKPOINT, "ckpt-")):
            return any(other.endswith(".index") for other in self._names_in(directory))
        if directory.endswith(_OF_PAGE) and _THUMBNAIL.fullmatch(name):
            return self._is_of_page(directory)
        return False

    def _is_ours(self, directory: str) -> bool:
        names = self._names_in(directory)
        return not _MARKS.isdisjoint(names) or any(map(_SHARD.fullmatch, names))

    def _is_of_page(self, folder: str) -> bool:
        """Whether a folder holds the pictures of a report page, which lies beside it, or is not written yet."""
        if folder not in self._pages:
            directory, name = os.path.split(folder)
            page = folder.removesuffix(_OF_PAGE)
            self._pages[folder] = any(_is_page(page + ending) for ending in (".html", ".htm")) or (
                name == _OF_REPORT and self._is_ours(directory)
            )
        return self._pages[folder]

    def _names_in(self, directory: str) -> frozenset[str]:
        if directory not in self._names:
            try:
                self._names[directory] = frozenset(storage.list_directory(directory))
            except OSError:
                self._names[directory] = frozenset()
        return self._names[directory]


def _is_page(path: str) -> bool:
    try:
        if not storage.is_file(path):
            return False
        with storage.open_file(path) as file:
            return _GENERATOR in file.read(_PAGE_HEAD)
    except OSError:
        return False
