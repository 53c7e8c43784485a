"""Which pictures are for training and which for validation: by content, never by caption row or file name alone."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from training.data.caption_files import normalized_name, read_image_list

TRAIN, DEV, OUTSIDE = 0, 1, 2
Selection = Callable[[str, Iterable[str]], bool]  # (sha256, uris) of a picture -> whether it is wanted
DEV_SHARE = 0.1  # of the pictures, without a list
DEV_PICTURES = 2000  # at most, in expectation: enough to tell two epochs apart


@dataclass(frozen=True)
class Split:
    """Divides pictures into training and validation (dev) pictures; its size does not grow with the collection.

    Attributes:
      train, dev: image names of the lists, None without a list.
      dev_share: share of the pictures that are for validation, chosen by content, if there is no dev list.
    """

    train: frozenset[str] | None
    dev: frozenset[str] | None
    dev_share: float

    def of(self, sha256: str, uris: Iterable[str]) -> int:
        """Assigns a picture to TRAIN, DEV or OUTSIDE; a picture that is in both lists is for validation only.

        Args:
          sha256: hex digest of its content.
          uris: every place where it was found.
        """
        names = image_names(uris)
        if self.dev is not None:
            if names & self.dev:
                return DEV
        elif int(sha256[:8], 16) < self.dev_share * 2**32:
            return DEV if self.train is None or names & self.train else OUTSIDE
        return TRAIN if self.train is None or names & self.train else OUTSIDE

    def selects(self, part: int) -> Selection:
        """TRAIN, DEV or OUTSIDE -> the selection of its pictures."""
        return lambda sha256, uris: self.of(sha256, uris) == part

    def in_both(self, uris: Iterable[str]) -> bool:
        """Whether a picture is in both lists, under one name or several."""
        names = image_names(uris)
        return bool(self.train and self.dev and names & self.train and names & self.dev)


def image_names(uris: Iterable[str]) -> frozenset[str]:
    """Uris of a picture -> names that a list may have for it: whole uris and file names, in Unicode's composed form."""
    return frozenset(name for uri in uris for name in (normalized_name(uri), normalized_name(posixpath.basename(uri))))


def make_split(train_list: str | None, dev_list: str | None, pictures: int) -> Split:
    """List files -> Split of a collection.

    Args:
      train_list, dev_list: files of image names; None for none.
      pictures: size of the collection.

    Raises:
      UserError: a list cannot be read, or is empty.
    """

    def names(path: str | None) -> frozenset[str] | None:
        return frozenset(map(normalized_name, read_image_list(path))) if path else None

    return Split(names(train_list), names(dev_list), min(DEV_SHARE, DEV_PICTURES / max(pictures, 1)))


def decode_uris(uris: Iterable[bytes]) -> list[str]:
    """Uris as bytes in a record -> text; names that are not UTF-8 are preserved by surrogate escapes."""
    return [os.fsdecode(uri) for uri in uris]
