"""Small copies of a collection's pictures, kept beside its captions in one zip, so that a report needs no picture."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
import threading
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from beam_pipeline.images.decode import DecodedImage, UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.input_file import split_member_uri
from beam_pipeline.inputs.reader import PictureReader, require_captioned
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime import storage

log = logging.getLogger("captionbeam")

STORE = "thumbnails.zip"
SIDE = 240  # pixels of the longer side
_NAME = re.compile(r"[0-9a-f]{64}\.jpg")
_MOST_BYTES = 1 << 20  # of a thumbnail; 240x240 pixels of noise have 60 kB
_QUALITY = 78  # of the JPEG: 6 to 9 kB a photo
_BATCH = 64  # pictures whose thumbnails, of some kB each, may wait to be written
_THREADS = max(2, os.cpu_count() or 1)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the same thumbnails make the same zip


@dataclass(frozen=True)
class Wanted:
    """A picture that a page shows: hex digest of its bytes, and the address of a file that holds them."""

    sha256: str
    uri: str


def thumbnail(image: DecodedImage) -> bytes:
    """Decoded picture, squashed to a square -> JPEG of its true proportions, `SIDE` pixels at most."""
    scale = min(1.0, SIDE / max(image.width, image.height))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


class ThumbnailStore:
    """The thumbnails of a captions directory, by sha256; a context manager, as it holds a file open.

    Args:
      directory: of the captions.
    """

    def __init__(self, directory: str):
        self._stack = contextlib.ExitStack()
        path = storage.join(directory, STORE)
        self._archive = None
        if storage.is_file(path):
            with contextlib.suppress(zipfile.BadZipFile):  # cut or replaced: as if there were none
                self._archive = self._stack.enter_context(
                    zipfile.ZipFile(self._stack.enter_context(storage.local_copy(path)))
                )
        found = self._archive.infolist() if self._archive else []
        self.sizes = {  # bytes of each; what else a stranger's zip holds is none of ours
            info.filename.removesuffix(".jpg"): info.file_size
            for info in found
            if _NAME.fullmatch(info.filename) and info.file_size <= _MOST_BYTES
        }

    def __enter__(self) -> ThumbnailStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, sha256: str) -> bytes:
        assert self._archive
        return self._archive.read(f"{sha256}.jpg")


def update_thumbnails(directory: str, wanted: Iterable[Wanted], limits: DecodeLimits, remote: bool) -> None:
    """Brings the store up to date: what it lacks is made from the pictures, what nobody wants is left out.

    A picture that cannot be read, or is not what was captioned, has no thumbnail. Where nothing is lacking, no picture
    is opened.

    Args:
      remote: whether addresses that are no local paths may be opened.
    """
    by_sha256 = {one.sha256: one for one in wanted}
    with ThumbnailStore(directory) as store:
        kept = sorted(by_sha256.keys() & store.sizes.keys())
        lacking = [one for one in by_sha256.values() if one.sha256 not in store.sizes]
        openable = [one for one in lacking if remote or storage.is_local(one.uri)]
        made = make_thumbnails(sorted(openable, key=lambda one: one.uri), limits)
        first = next(made, None)
        if first is None and len(kept) == len(store.sizes):
            return
        with storage.new_file(storage.join(directory, STORE)) as local, zipfile.ZipFile(local, "w") as archive:
            for sha256 in kept:
                _add(archive, sha256, store.read(sha256))
            for sha256, data in itertools.chain([first] if first else [], made):
                _add(archive, sha256, data)


def _add(archive: zipfile.ZipFile, sha256: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"{sha256}.jpg", _NO_TIME), data)


def make_thumbnails(wanted: Iterable[Wanted], limits: DecodeLimits) -> Iterator[tuple[str, bytes]]:
    """Pictures, by address -> (sha256, JPEG) of those that can still be read; gives up where none of a batch can."""
    containers, lock = PictureReader(), threading.Lock()

    def make(one: Wanted) -> tuple[str, bytes | None]:
        try:
            if split_member_uri(one.uri) is None:
                data = PictureReader().read(one.uri, limits.max_bytes)
            else:
                with lock:  # the reader keeps the list of one container
                    data = containers.read(one.uri, limits.max_bytes)
            picture = decoder_pool(limits, _THREADS).decode(require_captioned(data, one.sha256))
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
                return  # the collection is elsewhere
