"""Which pictures train and which ones judge: by content, never by caption row or file name alone."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from training.data.caption_files import normalized_name, read_image_list

TRAIN, DEV, OUTSIDE = 0, 1, 2
DEV_SHARE = 0.1  # of the pictures, where no list says otherwise
DEV_PICTURES = 2000  # at most, in expectation: enough to tell two epochs apart


@dataclass(frozen=True)
class Split:
    """Decides for each picture; picklable, and small whatever the collection's size.

    Attributes:
      train, dev: image names of the lists, None where there is no list.
      dev_share: share of the pictures that judge, by content, where there is no dev list.
    """

    train: frozenset[str] | None
    dev: frozenset[str] | None
    dev_share: float

    def of(self, sha256: str, uris: Iterable[str]) -> int:
        """TRAIN, DEV or OUTSIDE. A picture whose files are in both lists judges and does not train."""
        names = image_names(uris)
        if self.dev is not None:
            if names & self.dev:
                return DEV
        elif int(sha256[:8], 16) < self.dev_share * 2**32:
            return DEV if self.train is None or names & self.train else OUTSIDE
        return TRAIN if self.train is None or names & self.train else OUTSIDE

    def in_both(self, uris: Iterable[str]) -> bool:
        """Whether a picture is in the train list and in the dev list, under one name or several."""
        names = image_names(uris)
        return bool(self.train and self.dev and names & self.train and names & self.dev)


def image_names(uris: Iterable[str]) -> frozenset[str]:
    """Every name that a list may call a picture by: its whole uri and its file name, in Unicode's composed form."""
    return frozenset(name for uri in uris for name in (normalized_name(uri), normalized_name(posixpath.basename(uri))))


def make_split(train_list: str | None, dev_list: str | None, pictures: int) -> Split:
    """List files -> Split of a collection of `pictures` pictures.

    Raises:
      UserError: a list cannot be read, or is empty.
    """

    def names(path: str | None) -> frozenset[str] | None:
        return frozenset(map(normalized_name, read_image_list(path))) if path else None

    return Split(names(train_list), names(dev_list), min(DEV_SHARE, DEV_PICTURES / max(pictures, 1)))


def decode_uris(uris: Iterable[bytes]) -> list[str]:
    """Bytes of a record -> uris; names that are not UTF-8 survive."""
    return [os.fsdecode(uri) for uri in uris]
