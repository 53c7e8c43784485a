"""What .tar and .zip files have in common: which members are pictures, and which texts are their captions.

The name of a member is a label and nothing else: no file is ever opened or written by it. A text beside a picture is
its caption: `a.txt` or `a.json` for `a.jpg`, or in WebDataset's way for every picture whose name begins with `a.`.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from beam_pipeline.inputs.input_file import (
    CAPTION_KEYS,
    LARGEST_CAPTION,
    InputFile,
    Member,
    UnreadableMember,
    clean_captions,
)
from beam_pipeline.inputs.left_out import CONTAINER, left_out_kind

_BLOCK = 1 << 20

Named = tuple[str, InputFile]  # a member's name, and where it lies


class DamagedArchive(Exception):
    """An archive cannot be listed any further; the message says what was found, for a person."""


def problem_of(found: int, error: Exception, no_archive: str) -> str:
    """Number of members that were listed before an error ended the list -> the archive's problem, for a person.

    Args:
      no_archive: what is said where nothing was found.
    """
    if not found:
        return f"{no_archive} ({error})"
    return f"damaged after {found:,} {'member' if found == 1 else 'members'}, the rest is not read ({error})"


def is_text(name: str) -> bool:
    """Whether a member may be a caption, by its name."""
    return name.lower().endswith((".txt", ".json"))


def is_member(name: str, ignored: Counter[str]) -> bool:
    """Whether a file in an archive is a picture or a caption; counts it if not."""
    kind = "" if is_text(name) else left_out_kind(name, by_suffix=True)
    if kind:
        ignored["nested" if kind == CONTAINER else kind] += 1
    return not kind


def member_of(container: InputFile, name: str, size: int, member: Member, problem: str) -> InputFile:
    """Archive and what it says of a member -> the member as an input."""
    return InputFile(container.member_uri(name), size, container.mtime, problem, member)


def key_of(name: str) -> str:
    """WebDataset's rule: files of one sample agree up to the first dot of the base name."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


class CaptionsBeside:
    """The captions that stand beside the pictures of an archive; each text is read once.

    Args:
      texts: (name, place) of the texts.
      read: gives the bytes of one of them, block by block.
      ignored: counts the texts that cannot be read; added to.
    """

    def __init__(
        self, texts: Iterable[Named], read: Callable[[InputFile], Iterator[bytes]], ignored: Counter[str]
    ) -> None:
        self._texts: dict[str, list[InputFile]] = {}
        for name, text in texts:
            self._texts.setdefault(os.path.splitext(name)[0], []).append(text)
        self._read = read
        self._ignored = ignored
        self._captions: dict[str, tuple[str, ...]] = {}

    def give(self, name: str, picture: InputFile) -> InputFile:
        """A picture and its name in the archive -> the picture with its captions, each once."""
        captions = dict.fromkeys(
            caption for stem in dict.fromkeys((os.path.splitext(name)[0], key_of(name))) for caption in self._of(stem)
        )
        return replace(picture, captions=tuple(captions)) if captions else picture

    def _of(self, stem: str) -> tuple[str, ...]:
        if stem not in self._captions:
            if stem not in self._texts:
                return ()
            found = (caption for text in self._texts.pop(stem) for caption in self._in(text))
            self._captions[stem] = tuple(dict.fromkeys(found))
        return self._captions[stem]

    def _in(self, text: InputFile) -> list[str]:
        try:
            if text.problem or text.size > LARGEST_CAPTION:
                raise ValueError(text.problem or "too long for a caption")
            content = b"".join(itertools.islice(self._read(text), 2))  # more is more than it says of itself
            return captions_in(content.decode(), is_json=text.uri.lower().endswith(".json"))
        except (OSError, ValueError, RecursionError):
            self._ignored["caption"] += 1
            return []


def captions_in(text: str, is_json: bool) -> list[str]:
    """Content of a caption file -> its captions: of a .txt the whole, of a .json those of CAPTION_KEYS.

    Args:
      text: the content.
      is_json: whether it is that of a .json.

    Raises:
      ValueError: not JSON.
    """
    if not is_json:
        return clean_captions([text])
    document = json.loads(text)
    fields: Mapping[str, Any] = document if isinstance(document, dict) else {}
    return [caption for key in CAPTION_KEYS for caption in clean_captions(fields.get(key))]


def slice_of(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    """Open file -> `size` bytes of it from `offset` on, block by block.

    Raises:
      UnreadableMember: it ends before.
    """
    file.seek(offset)
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise UnreadableMember("truncated: the archive ends within it")
        size -= len(block)
        yield block
