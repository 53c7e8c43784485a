"""Thumbnails of a collection's pictures, kept in a zip file beside the captions, so a report need not open pictures."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from beam_pipeline.images.decode import DecodedImage, UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.inputs.reader import PictureReader, require_unchanged
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage
from training.errors import UserError
from training.own_names import THUMBNAILS

log = logging.getLogger("captionbeam")

SIDE = 240  # pixels of the longer side
_NAME = re.compile(r"[0-9a-f]{64}\.jpg")
_MOST_BYTES = 1 << 20  # of a thumbnail; 240x240 pixels of noise take 60 kB
_MOST_BYTES_OF_ALL = 1 << 30
_DAMAGED = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    KeyError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
_QUALITY = 78  # of the JPEG: 6 to 9 kB a photo
_BATCH = 64  # thumbnails that are in memory at once
_THREADS = max(2, os.cpu_count() or 1)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # of all members, so equal thumbnails make equal files


@dataclass(frozen=True)
class Wanted:
    """A picture that needs a thumbnail: the sha256 of its bytes, and the address of a file with them."""

    sha256: str
    uri: str


def thumbnail(image: DecodedImage) -> bytes:
    """Decoded picture, scaled to a square -> JPEG in its original proportions, at most `SIDE` pixels wide and high."""
    scale = min(1.0, SIDE / max(image.width, image.height))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


class ThumbnailStore:
    """Reads the thumbnails of a captions directory; a context manager, since it holds a file open.

    Args:
      directory: captions directory.

    Attributes:
      sizes: sha256 of each picture -> bytes of its thumbnail, for those that are sound.
      is_whole: whether the file holds nothing else; also where there is none.
    """

    def __init__(self, directory: str):
        self._stack = contextlib.ExitStack()
        self._archive: zipfile.ZipFile | None = None
        self.sizes: dict[str, int] = {}
        self.is_whole = False
        path = storage.join(directory, THUMBNAILS)
        try:
            self._open(path)
        except FileNotFoundError:
            self.is_whole = True
        except (*_DAMAGED, UserError):  # treated as if there were none, and replaced
            self.is_whole = False

    def _open(self, path: str) -> None:
        if storage.own_size(path) > _MOST_BYTES_OF_ALL:
            return
        local = self._stack.enter_context(storage.local_copy(path))
        self._archive = self._stack.enter_context(zipfile.ZipFile(local))
        members = self._archive.infolist()
        # The file may come from elsewhere and hold anything: members are as large as they say, and do not overlap.
        if sum(info.file_size for info in members) > os.path.getsize(local):
            return
        sound = [info for info in members if self._is_sound(info)]
        self.sizes = {info.filename.removesuffix(".jpg"): info.file_size for info in sound}
        self.is_whole = len(self.sizes) == len(members)

    def _is_sound(self, info: zipfile.ZipInfo) -> bool:
        """Whether a member is a JPEG no larger than a thumbnail, with the checksum that it was stored with."""
        stored = info.compress_type == zipfile.ZIP_STORED and info.file_size <= _MOST_BYTES
        if not (stored and _NAME.fullmatch(info.filename) and self._archive):
            return False
        try:
            with Image.open(io.BytesIO(self._archive.read(info)), formats=("JPEG",)) as image:  # reads its header
                return max(image.size) <= SIDE
        except (*_DAMAGED, Image.DecompressionBombError):
            return False

    def __enter__(self) -> ThumbnailStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, sha256: str) -> bytes:
        """sha256 of a picture, one of `sizes` -> its thumbnail as JPEG."""
        assert self._archive
        return self._archive.read(f"{sha256}.jpg")


def update_thumbnails(directory: str, wanted: Iterable[Wanted], limits: DecodeLimits, remote: bool) -> None:
    """Makes the missing thumbnails of a captions directory and removes those that are not wanted.

    A picture that cannot be read, or has changed since it was captioned, gets no thumbnail. If none is missing, no
    picture is opened.

    Args:
      directory: captions directory.
      wanted: pictures that need a thumbnail.
      limits: on decoding.
      remote: whether remote pictures may be opened.
    """
    by_sha256 = {one.sha256: one for one in wanted}
    with ThumbnailStore(directory) as store:
        kept = sorted(by_sha256.keys() & store.sizes.keys())
        missing = [one for one in by_sha256.values() if one.sha256 not in store.sizes]
        openable = [one for one in missing if remote or storage.is_local(one.uri)]
        made = make_thumbnails(sorted(openable, key=lambda one: one.uri), limits)
        first = next(made, None)
        if first is None and store.is_whole and len(kept) == len(store.sizes):
            return
        with storage.new_file(storage.join(directory, THUMBNAILS)) as local, zipfile.ZipFile(local, "w") as archive:
            for sha256 in kept:
                _add(archive, sha256, store.read(sha256))
            for sha256, data in itertools.chain([first] if first else [], made):
                _add(archive, sha256, data)


def _add(archive: zipfile.ZipFile, sha256: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"{sha256}.jpg", _NO_TIME), data)


def make_thumbnails(wanted: Iterable[Wanted], limits: DecodeLimits) -> Iterator[tuple[str, bytes]]:
    """Pictures sorted by address -> (sha256, JPEG) of each that can be read.

    Stops after a batch of which none can be read: the collection has probably moved.
    """
    containers, lock = PictureReader(), threading.Lock()

    def make(one: Wanted) -> tuple[str, bytes | None]:
        try:
            if split_member_uri(one.uri) is None:
                data = PictureReader().read(one.uri, limits.max_bytes)
            else:
                with lock:  # the reader keeps the list of one container
                    data = containers.read(one.uri, limits.max_bytes)
            picture = decoder_pool(limits, _THREADS).decode(require_unchanged(data, one.sha256))
            return one.sha256, thumbnail(picture)
        except (OSError, UnreadableImage) as error:
            log.debug("%s: no thumbnail (%s)", one.uri, error)
            return one.sha256, None

    remaining = iter(wanted)
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(itertools.islice(remaining, _BATCH)):
            made = [(sha256, data) for sha256, data in pool.map(make, batch) if data is not None]
            yield from made
            if not made:
                return
