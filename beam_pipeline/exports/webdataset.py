"""WebDataset shards of captioned pictures: `captions-000000.tar` with SHA256.jpg, .json and .txt of each picture."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

from beam_pipeline.inputs.archives import DamagedArchive, slice_of
from beam_pipeline.inputs.tar import tar_headers
from beam_pipeline.results.caption_index import CaptionedFile
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from training.files import open_regular


def shard_name(number: int) -> str:
    """Number of a shard, from 0 -> its file name."""
    return f"captions-{number:06d}.tar"


def holds(path: str, pictures: list[tuple[CaptionedFile, ...]]) -> bool:
    """Whether the tar file at `path` exists and has exactly these pictures, each given as its files, and captions."""
    expected = [_description(files) for files in pictures]
    ignored = Counter[str]()
    try:
        with open_regular(path) as file:
            places = [header.place for header in tar_headers(file, ignored) if header.name.endswith(".json")]
            if ignored or [size for _, size in places] != list(map(len, expected)):  # ignored: it has no end
                return False
            return [b"".join(slice_of(file, *place)) for place in places] == expected
    except (OSError, DamagedArchive, ValueError):
        return False


def write_shard(
    file: BinaryIO, pictures: list[tuple[CaptionedFile, ...]], read: Callable[[tuple[CaptionedFile, ...]], bytes | None]
) -> int:
    """Writes pictures into a tar file; returns how many. The same pictures give the same bytes.

    Args:
      file: to write to.
      pictures: each as the files that show it.
      read: files of a picture -> its bytes, or None where it is left out.
    """
    written = 0
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for files in pictures:
            data = read(files)
            if data is None:
                continue
            first = files[0]
            for ending, content in (
                (_ending(first.uri), data),
                ("json", _description(files)),
                ("txt", first.caption.encode()),
            ):
                # Named by content: a file name may contain anything, and WebDataset splits it at its first dot.
                member = tarfile.TarInfo(f"{first.sha256}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            written += 1
    return written


def _ending(uri: str) -> str:
    suffix = os.path.splitext(uri)[1].lower()
    return suffix[1:] if suffix in IMAGE_SUFFIXES else "jpg"


def _description(files: tuple[CaptionedFile, ...]) -> bytes:
    first = files[0]
    known = {
        "uris": [file.uri for file in files],
        "sha256": first.sha256,
        "caption": first.caption,
        "score": first.score,
        **({} if first.confidence is None else {"confidence": first.confidence}),
        "flags": first.flags,
        "keywords": first.keywords,
    }
    return json.dumps(known).encode()
