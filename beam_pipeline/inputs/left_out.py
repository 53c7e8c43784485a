"""Which files of a collection are no inputs, by their names: in folders, object stores and archives alike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from beam_pipeline.inputs.input_file import is_container
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from training.errors import UserError

# Kinds of what is left out; the balance of a run has a line for each.
SHADOW, CONTAINER, OTHER, OWN, EXCLUDED = "shadow", "container", "other", "own", "excluded"

# In lower case: systems that write them disagree about it.
_FOLDERS = frozenset(
    (
        # Thumbnails and other files that a disk station, a desktop or a phone makes of pictures.
        *("@eadir", ".@__thumb", ".thumbnails", ".thumbs", ".cache", "__macosx", ".appledouble"),
        # Deleted pictures, and earlier versions of pictures.
        *("$recycle.bin", "#recycle", "@recycle", ".recycle", ".trash", ".trashes", "network trash folder", ".dtrash"),
        *(".stversions", ".sync", ".picasaoriginals", "#snapshot", "@recently-snapshot", ".snapshot", ".snapshots"),
        *(".zfs", "lost+found"),
        # What a system or a program keeps for itself.
        *(".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100", "system volume information"),
        *(".stfolder", ".git", ".svn", ".hg", ".dvc"),
    )
)
_FILES = frozenset((".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"))
# macOS leaves ._NAME beside NAME on foreign disks; Android renames what is deleted, or still being written.
_TEMPORARY = (storage.TEMPORARY_PREFIX, ".tmp-")  # the latter of earlier versions
_FILE_PREFIXES = ("._", "synophoto_thumb_", ".trashed-", ".pending-")
# Apple's photo libraries are folders that hold, beside the pictures, smaller ones that were made of them.
_LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary")
_OF_LIBRARIES = ("resources", "thumbnails", "previews")


def left_out_folder_kind(name: str, parent: str) -> str:
    """Name of a folder, and of the one that it lies in -> why it is left out: SHADOW, OWN (a temporary one) or "".

    Folders in which a system, a desktop or a trash keeps its own files are left out.
    """
    lower = name.lower()
    if lower.startswith(_TEMPORARY):
        return OWN
    is_shadow = lower in _FOLDERS or lower.startswith(".trash-") or name == "RECYCLER"
    return SHADOW if is_shadow or (lower in _OF_LIBRARIES and parent.lower().endswith(_LIBRARIES)) else ""


def left_out_kind(path: str, by_suffix: bool) -> str:
    """Path of a file below what the user named -> why it is left out: SHADOW, OWN, CONTAINER or OTHER; or "".

    Args:
      path: relative, with "/" between its parts.
      by_suffix: whether the ending of a name rules a file out: yes in a folder that is walked, no where the user named
        the files.
    """
    *folders, name = path.split("/")
    lower = name.lower()
    if lower.startswith(_TEMPORARY):
        return OWN
    if lower in _FILES or lower.startswith(_FILE_PREFIXES):
        return SHADOW
    if kind := next(filter(None, map(left_out_folder_kind, folders, ["", *folders])), ""):
        return kind
    if not by_suffix:
        return ""
    if is_container(name):
        return CONTAINER
    # A name without a suffix may well be a picture (content-addressed stores); its bytes will tell. A name of a suffix
    # alone is none, such as .lock, nor is "", which an object store gives a folder.
    suffix = os.path.splitext(f"x{lower}" if lower.startswith(".") else lower)[1]
    return OTHER if not name or (suffix and suffix not in IMAGE_SUFFIXES) else ""


class Excluded:
    """What `--exclude` leaves out.

    Args:
      patterns: as in a .gitignore, but # has no meaning of its own.

    Raises:
      UserError: one of them is no such pattern.
    """

    def __init__(self, patterns: Iterable[str]):
        specs = [_parse(pattern) for pattern in patterns]
        self._spec = GitIgnoreSpec([one for spec in specs for one in spec.patterns]) if specs else None

    def __call__(self, path: str) -> bool:
        """Path below what the user named -> whether it is left out; the path of a folder ends in "/"."""
        return self._spec is not None and self._spec.match_file(path)


def _parse(pattern: str) -> GitIgnoreSpec:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `re` warns about "[[]", which is a good pattern
            spec = GitIgnoreSpec.from_lines([pattern.replace("#", "\\#", 1) if pattern.startswith("#") else pattern])
    except GitIgnorePatternError:
        spec = GitIgnoreSpec([])
    if not any(one.include is not None for one in spec.patterns):
        raise UserError(f"--exclude {pattern}: matches nothing; a pattern is like those of .gitignore, as in '*.gif'")
    return spec
