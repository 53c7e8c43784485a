"""captionbeam's own files, which are never inputs, wherever a directory of its lies.

Names alone do not tell: a picture may have the name of a file of ours. What lies beside it tells too.
"""

from __future__ import annotations

import os
import re

from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.runtime import storage
from training.files import LOCK
from training.own_names import (
    CHECKPOINTS,
    OWN_NAMES,
    PICTURES_OF_REPORT,
    SCORE_DOCUMENT,
    SHARD_FILE,
    SUMMARY,
    WEIGHTS,
)

_LOG = "events.out.tfevents."  # TensorBoard's
# What marks a directory of ours, beside shards; and what is ours in such a directory.
_MARKS = frozenset((SUMMARY, WEIGHTS, SCORE_DOCUMENT))
_NAMES = frozenset().union(*OWN_NAMES.values())
_OF_PAGE = "_files"
_THUMBNAIL = re.compile(r"[0-9a-f]{64}\.jpg")
_GENERATOR = b'<meta name="generator" content="captionbeam '
_PAGE_HEAD = 4096  # bytes


class OwnFiles:
    """Tells captionbeam's own files from others, and keeps what it knows of the directories that it has looked into."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._pages: dict[str, bool] = {}

    def __contains__(self, uri: str) -> bool:
        """Whether a file, or the container of a member, is one of captionbeam's own."""
        member = split_member_uri(uri)
        directory, _, name = (member[0] if member else uri).rpartition("/")
        if name == LOCK or name.startswith(_LOG) or SHARD_FILE.fullmatch(name):
            return True
        if name in _NAMES and self.lie_in(directory):
            return True
        # TensorFlow's file that names the newest checkpoint has the name of its folder.
        if os.path.basename(directory) == CHECKPOINTS and name.startswith((CHECKPOINTS, "ckpt-")):
            return any(other.endswith(".index") for other in self._names_in(directory))
        if directory.endswith(_OF_PAGE) and _THUMBNAIL.fullmatch(name):
            return self._is_of_page(directory)
        return False

    def lie_in(self, directory: str) -> bool:
        """Whether extract, train, evaluate or caption wrote into a directory."""
        names = self._names_in(directory)
        return not _MARKS.isdisjoint(names) or any(map(SHARD_FILE.fullmatch, names))

    def _is_of_page(self, folder: str) -> bool:
        """Whether a folder holds the pictures of a report page, which lies beside it, or is not written yet."""
        if folder not in self._pages:
            directory, name = os.path.split(folder)
            page = folder.removesuffix(_OF_PAGE)
            self._pages[folder] = any(is_page(page + ending) for ending in (".html", ".htm")) or (
                name == PICTURES_OF_REPORT and self.lie_in(directory)
            )
        return self._pages[folder]

    def _names_in(self, directory: str) -> frozenset[str]:
        if directory not in self._names:
            try:
                self._names[directory] = frozenset(storage.list_directory(directory))
            except OSError:
                self._names[directory] = frozenset()
        return self._names[directory]


def is_page(path: str) -> bool:
    """Whether a file is a page that captionbeam wrote."""
    try:
        if not storage.is_file(path):
            return False
        with storage.open_file(path) as file:
            return _GENERATOR in file.read(_PAGE_HEAD)
    except OSError:
        return False
