"""Pictures of a shard, read and decoded ahead of the encoder and encoded in batches of one fixed shape.

While the encoder works on one batch, threads read the next pictures and have them decoded in processes of their own,
and the caller writes the batch before. A broken picture is rejected and disturbs no other.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from beam_pipeline.encoders.base import ENCODER_BATCH, SAMPLE_PICTURES, Encoder
from beam_pipeline.images.decode import DecodedImage, UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.containers import read_input
from beam_pipeline.inputs.input_file import InputFile
from beam_pipeline.inputs.sources import Collection, Listing
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime.interrupts import raise_if_stopping
from beam_pipeline.runtime.text import reason, uri_key, utf8, why
from beam_pipeline.runtime.threads import map_ahead
from beam_pipeline.shards.contents import Picture, unreadable_stage
from beam_pipeline.shards.ledger import DECODE, DONE, DUPLICATE, READ, REJECTED, LedgerLine
from training.data.feature_set import FEATURE_DTYPE
from training.errors import UserError

_BATCHES_AHEAD = 2  # decoded batches that wait for the encoder: 4.3 MB each
_NO_PROFILE = "its colour profile is too large to be applied"
READING_THREADS = max(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class ReadPicture:
    """A picture after reading and decoding.

    Attributes:
      picture: the picture.
      image: its pixels; None where it was rejected, or an earlier run has done it.
      lines: one ledger line for each of its files.
    """

    picture: Picture
    image: DecodedImage | None
    lines: tuple[LedgerLine, ...]


@dataclass(frozen=True)
class EncodedPicture:
    """A picture after encoding.

    Attributes:
      read: the picture after reading.
      feature: float16 [P, C] or [C]; None where `read.image` is None.
      views: features of its V augmented views, float16 [V, P, C] or [V, C]; None likewise.
    """

    read: ReadPicture
    feature: np.ndarray | None = None
    views: np.ndarray | None = None


def encode_pictures(
    pictures: Iterable[Picture], encoder: Callable[[], Encoder], limits: DecodeLimits
) -> Iterator[EncodedPicture]:
    """Pictures -> EncodedPicture each, in order.

    Args:
      encoder: gives the encoder; not called where there is nothing to encode.
      limits: what decoding one picture may cost, and how many augmented views it has.
    """
    raise_if_stopping()
    read = map_ahead(
        lambda picture: read_picture(picture, limits), pictures, READING_THREADS, ahead=_BATCHES_AHEAD * ENCODER_BATCH
    )
    for batch in map_ahead(lambda batch: encode_batch(batch, encoder), _batches(read), threads=1, ahead=1):
        raise_if_stopping()
        yield from batch


def _batches(read: Iterable[ReadPicture]) -> Iterator[list[ReadPicture]]:
    """Runs of pictures that hold ENCODER_BATCH decoded ones, the last run fewer."""
    batch: list[ReadPicture] = []
    decoded = 0
    for picture in read:
        batch.append(picture)
        decoded += picture.image is not None
        if decoded == ENCODER_BATCH:
            yield batch
            batch, decoded = [], 0
    if batch:
        yield batch


def encode_batch(batch: list[ReadPicture], encoder: Callable[[], Encoder]) -> list[EncodedPicture]:
    """Pictures -> EncodedPicture each, in order; those without an image have no feature."""
    pixels = [view for read in batch if read.image for view in (read.image.pixels, *read.image.views)]
    features = encode_pixels(pixels, encoder)
    return [
        EncodedPicture(read, next(features), np.array([next(features) for _ in read.image.views], FEATURE_DTYPE))
        if read.image
        else EncodedPicture(read)
        for read in batch
    ]


def encode_pixels(pixels: Sequence[np.ndarray], encoder: Callable[[], Encoder]) -> Iterator[np.ndarray]:
    """RGB uint8 [299, 299, 3] each -> float16 [P, C] or [C] each, in order.

    Args:
      encoder: gives the encoder; not called where there are no pixels.
    """
    for begin in range(0, len(pixels), ENCODER_BATCH):
        yield from encoder().encode(np.stack(pixels[begin : begin + ENCODER_BATCH]))


def read_picture(picture: Picture, limits: DecodeLimits) -> ReadPicture:
    """Picture -> ReadPicture, decoded from the first of its files that can still be read.

    That file is done and the files after it are duplicates. The files before it are rejected; where the content cannot
    be decoded, so are all others.
    """
    if picture.problem:
        stage = unreadable_stage(picture.files[0])
        return ReadPicture(picture, None, _rejected(picture.files, "", stage, picture.problem))
    if picture.known_as:
        # The file that it was made from may be listed again with another time: it is no duplicate of itself.
        outcomes = [DONE if file.uri in picture.known_as else DUPLICATE for file in picture.files]
        lines = (_line(file, picture.sha256, outcome) for file, outcome in zip(picture.files, outcomes, strict=True))
        return ReadPicture(picture, None, tuple(lines))
    lost: tuple[LedgerLine, ...] = ()
    for position, file in enumerate(picture.files):
        others = picture.files[position:]
        try:
            data = read_input(file, limits.max_bytes)
        except OSError as error:
            lost += _rejected([file], picture.sha256, READ, reason(error))
            continue
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            lost += _rejected([file], picture.sha256, READ, "changed while the job ran; run again to process it")
            continue
        try:
            image = decoder_pool(limits, READING_THREADS).decode(data)
        except UnreadableImage as error:
            return ReadPicture(picture, None, lost + _rejected(others, picture.sha256, DECODE, str(error)))
        duplicates = tuple(_line(other, picture.sha256, DUPLICATE) for other in others[1:])
        done = _line(file, picture.sha256, DONE, reason=_NO_PROFILE if image.lacks_profile else "")
        return ReadPicture(picture, image, (*lost, done, *duplicates))
    return ReadPicture(picture, None, lost)


def _line(file: InputFile, sha256: str, outcome: str, stage: str = "", reason: str = "") -> LedgerLine:
    return LedgerLine(file.uri, file.size, file.mtime, sha256, outcome, stage, reason)


def _rejected(files: Iterable[InputFile], sha256: str, stage: str, reason: str) -> tuple[LedgerLine, ...]:
    return tuple(_line(file, sha256, REJECTED, stage, reason) for file in files)


def sample_pixels(collection: Collection, limits: DecodeLimits) -> np.ndarray:
    """Collection -> RGB uint8 [n, 299, 299, 3] of pictures drawn by the hash of their names, SAMPLE_PICTURES at most.

    Raises:
      UserError: none of the drawn files is a picture.
    """

    def draw(file: InputFile) -> bytes:
        return hashlib.sha256(uri_key(os.path.basename(file.uri))).digest()

    problems: list[str] = []

    def without_problem() -> Iterator[InputFile]:
        for file in Listing(collection):
            if not file.problem:
                yield file
            elif not problems:
                problems.append(f"{utf8(file.uri)}: {file.problem}")

    drawn = heapq.nsmallest(4 * SAMPLE_PICTURES, without_problem(), key=draw)
    pixels: list[np.ndarray] = []
    for file in drawn:
        try:
            data = read_input(file, limits.max_bytes)
            pixels.append(decoder_pool(limits, READING_THREADS).decode(data).pixels)
        except (OSError, UnreadableImage) as error:
            problems.append(f"{utf8(file.uri)}: {why(error)}")
        if len(pixels) == SAMPLE_PICTURES:
            break
    if not pixels:
        problem = f" ({problems[0]})" if problems else ""
        raise UserError(
            f"--images {collection}: holds no picture to fit the encoder to{problem}; give other images, or --weights "
            "PATH and another precision than int8"
        )
    return np.stack(pixels)
