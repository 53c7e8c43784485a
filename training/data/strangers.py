"""Files in a directory of captionbeam that do not belong to what it holds: they are said once by who uses it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from training.data.feature_set import FeatureSet
from training.files import is_local
from training.own_names import FEATURES, MANIFEST, NOTE_SUFFIX, SHARD_FILE, belongs
from training.text.plurals import counted

log = logging.getLogger("captionbeam")


def strangers(names: Iterable[str], shards: Iterable[str], kind: str, where: str) -> str:
    """Names of all files of a directory -> what of them does not belong to it, in words; "" for nothing.

    Hidden files are left out.

    Args:
      shards: names of files of the shards that count.
      kind: of the directory, a key of `OWN_NAMES`.
      where: what names the shards that count.
    """
    counting = {match["shard"] for name in shards if (match := SHARD_FILE.fullmatch(name))}
    uncounted: dict[str, str] = {}
    foreign = []
    for name in sorted(names):
        if match := SHARD_FILE.fullmatch(name.removesuffix(NOTE_SUFFIX)):
            if match["shard"] not in counting:
                uncounted.setdefault(match["shard"], name)
        elif not name.startswith(".") and not belongs(name, kind):
            foreign.append(name)
    parts = []
    if uncounted:
        are = "is not in {}, so it does not count" if len(uncounted) == 1 else "are not in {}, so they do not count"
        parts.append(f"{counted(len(uncounted), 'shard')} {are.format(where)} ({_examples(list(uncounted.values()))})")
    if foreign:
        are = "is no part of it" if len(foreign) == 1 else "are no part of it"
        parts.append(f"{counted(len(foreign), 'other file')} {are} ({_examples(foreign)})")
    return "; ".join(parts)


def _examples(names: list[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")


def unlisted_files(features: FeatureSet) -> list[str]:
    """Feature set -> names of record files in its directory that its manifest does not list; none of a remote one."""
    listed = {shard.name for shard in features.shards}
    return sorted(name for name in _names(features.path) if name.endswith(".tfrecord") and name not in listed)


def _names(directory: str) -> list[str]:
    if not is_local(directory):
        return []
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_file()]


def mention_strangers(features: FeatureSet) -> None:
    """Logs what lies in the directory of a feature set and does not belong to it; not of a remote one."""
    if line := strangers(_names(features.path), (shard.name for shard in features.shards), FEATURES, MANIFEST):
        log.info("%s: %s", features.path, line)
