"""Feeds damaged pictures to the decoder: what becomes of them, how long the slowest takes, what memory it needs.

    python benchmarks/mutated_images.py [--images DIR] [--mutations 10000] [--seed 0] [--keep DIR]

Pictures are drawn in every format that can be written here, files of a folder are added where one is named, and each
mutation damages one of them: bits flipped, numbers in headers set to extremes, pieces cut out, doubled or taken from
another file, the end cut off. Every one has to be decoded or rejected with a reason. The exit status is 1 if one
crashed its decoder or took too long; `--keep` writes those down. The same seed gives the same mutations.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, features

from beam_pipeline.images.decode import UnreadableImage
from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.options.limits import DecodeLimits

_EXTREMES = tuple(value.to_bytes(4, "big") for value in (0, 1, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1))
_FATAL = ("crashes its decoder", "took more than")
_LIMITS = DecodeLimits(max_seconds=30)


@dataclass
class Outcomes:
    """What became of the mutated pictures.

    Attributes:
      counts: how many came to which end; reasons are cut down to their first words.
      fatal: (name, reason, content) of those that crashed their decoder or took too long.
      slowest_seconds, slowest: time and name of the slowest.
    """

    counts: Counter[str] = field(default_factory=Counter)
    fatal: list[tuple[str, str, bytes]] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest: str = ""


def draw_originals() -> dict[str, bytes]:
    """name -> a small valid picture, in every format and of every kind that Pillow can write here."""
    ramp = np.indices((72, 96)).sum(0).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8)
    photo = Image.fromarray((noise // 4 + ramp[..., None]).astype(np.uint8))
    other = photo.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # the hour of its making would make every run another
    animated = {"save_all": True, "append_images": [other, photo]}
    kinds = [
        (photo, "JPEG", {"exif": exif, "icc_profile": profile}),
        (photo, "JPEG", {"progressive": True, "quality": 40}),
        (photo.convert("CMYK"), "JPEG", {}),
        (photo.convert("L"), "JPEG", {}),
        (photo, "PNG", {"icc_profile": profile}),
        (photo.convert("P"), "PNG", {"transparency": 3}),
        (photo.convert("RGBA"), "PNG", animated),
        (Image.fromarray(ramp.astype(np.uint16) * 257), "PNG", {}),
        (photo, "WEBP", {}),
        (photo.convert("RGBA"), "WEBP", {"lossless": True, "exif": exif}),
        (photo, "WEBP", animated),
        (photo, "GIF", animated),
        (photo, "BMP", {}),
        (photo.convert("P"), "BMP", {}),
        (photo, "TIFF", {"compression": "tiff_lzw", **animated}),
        (photo, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (photo, "TIFF", {"compression": "jpeg"}),
        (photo.convert("1"), "TIFF", {"compression": "group4"}),
        (Image.fromarray(ramp.astype(np.float32)), "TIFF", {}),
        (photo, "JPEG2000", {}),
        (photo.convert("RGBA").resize((48, 48)), "ICO", {}),
        (photo, "PPM", {}),
        (photo, "TGA", {"compression": "tga_rle"}),
    ]
    if features.check("avif"):
        kinds.append((photo, "AVIF", {"exif": exif}))  # no animated one: it holds the hour of its making
    originals = {}
    for number, (image, kind, options) in enumerate(kinds):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        originals[f"{number:02d}-{image.mode}.{kind.lower()}"] = buffer.getvalue()
    return originals


def mutations(originals: dict[str, bytes], number: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Originals -> (name, content) of `number` damaged ones; the name tells the original and the mutation."""
    rng = random.Random(seed)
    names = sorted(originals)
    for index in range(number):
        name = rng.choice(names)
        data = bytearray(originals[name])
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            _mutate(data, originals[rng.choice(names)], rng)
        yield f"{index:05d}-{name}", bytes(data)


def _mutate(data: bytearray, other: bytes, rng: random.Random) -> None:
    """Damages the content once, in place."""
    if not data:
        return
    # Half of the damage goes to the first bytes, where the headers are.
    at = rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data))
    size = min(1 << rng.randrange(12), len(data) - at)
    kind = rng.randrange(7)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.randrange(256)
    elif kind == 2:
        extreme = rng.choice(_EXTREMES)
        width = rng.choice((2, 4))
        data[at : at + width] = extreme[:width] if rng.random() < 0.5 else extreme[::-1][:width]
    elif kind == 3:
        del data[at : at + size]
    elif kind == 4:
        data[at:at] = data[at : at + size]
    elif kind == 5:
        begin = rng.randrange(len(other)) if other else 0
        data[at : at + size] = other[begin : begin + size]
    else:
        del data[max(1, at) :]


def decode_all(pictures: Iterator[tuple[str, bytes]], pool: ImageDecoderPool, threads: int) -> Outcomes:
    """(name, content) -> Outcomes."""
    outcomes = Outcomes()

    def decode(picture: tuple[str, bytes]) -> tuple[str, bytes, str, float]:
        name, data = picture
        began = time.monotonic()
        try:
            pool.decode(data)
            reason = ""
        except UnreadableImage as error:
            reason = str(error)
        return name, data, reason, time.monotonic() - began

    with ThreadPoolExecutor(threads) as executor:
        for name, data, reason, seconds in executor.map(decode, pictures):
            outcomes.counts[_kind(reason)] += 1
            if reason.startswith(_FATAL):
                outcomes.fatal.append((name, reason, data))
            if seconds > outcomes.slowest_seconds:
                outcomes.slowest_seconds, outcomes.slowest = seconds, name
    return outcomes


def _kind(reason: str) -> str:
    if not reason:
        return "decoded"
    if "over the limit" in reason:
        return "over the limit of pixels"
    return reason.partition(":")[0].partition(" (")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder whose files are mutated too")
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for what crashed a decoder or took too long")
    options = parser.parse_args()
    originals = draw_originals()
    if options.images:
        originals |= {path.name: path.read_bytes() for path in sorted(options.images.iterdir()) if path.is_file()}
    pool = ImageDecoderPool(_LIMITS, options.processes)
    began = time.monotonic()
    outcomes = decode_all(mutations(originals, options.mutations, options.seed), pool, options.processes)
    seconds = time.monotonic() - began
    pool.close()  # only processes that have ended are in the figures below
    for kind, number in outcomes.counts.most_common():
        print(f"{number:6d} {kind}")
    print(f"{options.mutations} mutations of {len(originals)} pictures in {seconds:.0f} s, seed {options.seed}")
    print(f"slowest: {outcomes.slowest} {outcomes.slowest_seconds:.2f} s")
    for who, name in ((resource.RUSAGE_CHILDREN, "a decoder"), (resource.RUSAGE_SELF, "this process")):
        print(f"peak memory of {name}: {resource.getrusage(who).ru_maxrss / 1024:.0f} MiB")
    print(f"crashed or took too long: {len(outcomes.fatal)}")
    for name, reason, data in outcomes.fatal:
        print(f"  {name}: {reason}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / name).write_bytes(data)
    return 1 if outcomes.fatal else 0


if __name__ == "__main__":
    sys.exit(main())
