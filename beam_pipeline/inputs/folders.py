"""What lies in folders and below them, each real folder once, however deep and however they are linked."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from beam_pipeline.inputs.input_file import UNKNOWN, InputFile
from beam_pipeline.inputs.left_out import EXCLUDED, left_out_folder_kind
from beam_pipeline.runtime.text import reason

_ANY_DEPTH = "**"
AGAIN = "folder_again"  # kind of a folder that is met a second time


@dataclass(frozen=True)
class Place:
    """A folder to look into, or a file that was found.

    Attributes:
      path: absolute.
      relative: path below what the user named; "" for that itself.
      parts: components of the pattern that what lies below must match; () for a folder, of which everything counts.
      reached: how many of `parts` the components of `relative` may stand for.
      is_link: whether it is a link itself.
    """

    path: str
    relative: str = ""
    parts: tuple[str, ...] = ()
    reached: frozenset[int] = frozenset()
    is_link: bool = False

    @property
    def is_matched(self) -> bool:
        """Whether it matches the whole pattern."""
        return not self.parts or len(self.parts) in self.reached

    def child(self, entry: os.DirEntry[str]) -> Place:
        """Entry of this folder -> its place."""
        relative = f"{self.relative}/{entry.name}" if self.relative else entry.name
        reached = _after(entry.name, self.parts, self.reached) if self.parts else self.reached
        return Place(entry.path, relative, self.parts, reached, entry.is_symlink())


def place_of_pattern(pattern: str) -> Place:
    """Absolute pattern of `glob`, with ** for any depth -> the folder that it begins in."""
    parts = pattern.split("/")
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    rest = tuple(parts[fixed:])
    return Place("/".join(parts[:fixed]) or "/", "", rest, _with_nothing_for_any_depth(rest, {0}))


def _after(name: str, parts: tuple[str, ...], reached: Iterable[int]) -> frozenset[int]:
    """How far the names before one get in a pattern -> how far they get with it."""
    after = set()
    for number in reached:
        part = parts[number] if number < len(parts) else None
        if part == _ANY_DEPTH:
            if not name.startswith("."):  # as in `glob`: hidden names are matched by patterns with a dot alone
                after.add(number)
        elif part is not None and _fits(name, part):
            after.add(number + 1)
    return _with_nothing_for_any_depth(parts, after)


def _fits(name: str, part: str) -> bool:
    if not glob.has_magic(part):
        return name == part
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def _with_nothing_for_any_depth(parts: tuple[str, ...], reached: set[int]) -> frozenset[int]:
    """Adds where a pattern goes on if ** stands for no folder."""
    for number in range(len(parts)):
        if number in reached and parts[number] == _ANY_DEPTH:
            reached.add(number + 1)
    return frozenset(reached)


def walk(
    begins: Iterable[Place], excluded: Callable[[str], bool], ignored: Counter[str]
) -> Iterator[Place | InputFile]:
    """Folders -> the files below them in sorted order; a folder that cannot be read comes as an input with a problem.

    Each real folder is read once: by its own path, and by a link to it only if none of the folders holds it.

    Args:
      begins: folders to read.
      excluded: whether a folder is left out, by its path below what the user named, with "/" behind it.
      ignored: counts the folders that are left out, by kind; added to.
    """
    walker = _Walker(excluded, ignored)
    real: list[Place] = []
    linked = walker.linked
    for place in begins:
        (real if os.path.realpath(place.path) == place.path else linked).append(place)
    for waiting in (real, linked):
        for place in waiting:  # `linked` grows meanwhile
            yield from walker.files_below(place)


class _Walker:
    """Walks folders one after the other, and remembers which it has seen.

    Attributes:
      linked: folders that it met links to, which it did not follow.
    """

    def __init__(self, excluded: Callable[[str], bool], ignored: Counter[str]):
        self.linked: list[Place] = []
        self._excluded, self._ignored = excluded, ignored
        self._seen: set[tuple[object, ...]] = set()

    def files_below(self, begin: Place) -> Iterator[Place | InputFile]:
        """Folder -> the files below it, but not those behind links to folders."""
        stack = [iter([(begin, True)])]  # no recursion: folders are nested deeper than Python's calls may be
        while stack:
            place, is_folder = next(stack[-1], (None, False))
            if place is None:
                stack.pop()
            elif not is_folder:
                yield place
            elif self._is_new(place):
                try:
                    with os.scandir(place.path) as entries:
                        found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
                except OSError as error:
                    yield InputFile(place.path, UNKNOWN, UNKNOWN, f"folder cannot be listed: {_reason(error)}")
                else:
                    stack.append(self._kept(place, found))

    def _is_new(self, folder: Place) -> bool:
        try:
            status = os.stat(folder.path)
        except OSError:
            return True  # listing it will tell
        # Some network disks number no files.
        number = status.st_ino or os.path.realpath(folder.path)
        key = (status.st_dev, number, folder.parts, folder.reached)
        if key in self._seen:
            self._ignored[AGAIN] += 1
            return False
        self._seen.add(key)
        return True

    def _kept(self, folder: Place, found: list[os.DirEntry[str]]) -> Iterator[tuple[Place, bool]]:
        """What a folder holds -> (place, whether it is a folder) of what is to be read."""
        for entry in found:
            place = folder.child(entry)
            if not _is_folder(entry):
                if place.is_matched:
                    yield place, False
            elif place.parts and place.reached <= {len(place.parts)}:
                pass  # the pattern goes no deeper
            elif entry.name not in place.parts and (
                kind := left_out_folder_kind(entry.name, os.path.basename(folder.path))
            ):
                self._ignored[kind] += 1
            elif self._excluded(f"{place.relative}/"):
                self._ignored[EXCLUDED] += 1
            elif place.is_link:
                self.linked.append(place)
            else:
                yield place, True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle; asking for the file will tell
        return False


def _reason(error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "its path is longer than the system allows; link it, or move it, to a place with a shorter path"
    return reason(error)
