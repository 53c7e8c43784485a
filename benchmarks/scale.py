"""Memory and time of `extract` by the number of its inputs.

    python benchmarks/scale.py [--inputs 10000,100000] [--beam OPTIONS]

Draws an archive of so many tiny pictures of one colour each, every tenth a copy of another, and runs `extract` on it in
a process of its own. The encoder is a stand-in (the mean colour): what is measured is listing, deduplication, sharding,
reading, decoding and the ledger. Peak memory is that of the main process, as the kernel counts it; decoders of pictures
are processes of a fixed size beside it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from pathlib import Path
from struct import pack

import numpy as np

_SIDE = 8
_COPIES = 10  # every so many inputs one is a copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", default="10000,100000", help="numbers of inputs, separated by commas")
    parser.add_argument("--beam", default="", help="options for Beam")
    parser.add_argument("--work", help="directory for what is drawn and made (default: a temporary one)")
    parser.add_argument("--run", help=argparse.SUPPRESS)  # the process of one job
    options = parser.parse_args()
    if options.run:
        run(Path(options.run), options.beam.split())
        return
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-", dir=options.work) as work:
        compare(options, Path(work))


def compare(options: argparse.Namespace, work: Path) -> None:
    found = []
    for number in map(int, options.inputs.split(",")):
        place = work / str(number)
        place.mkdir()
        draw_archive(place / "pictures.tar", number)
        command = [sys.executable, __file__, "--run", str(place), f"--beam={options.beam}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        figures = json.loads((place / "figures.json").read_text())
        found.append((number, figures))
        print(
            f"extract of {number:>9,} inputs: {figures['seconds']:8.1f} s, "
            f"{1000 * figures['seconds'] / number:6.3f} ms an input, peak {figures['peak_mb']:7.0f} MB",
            flush=True,
        )
    (few, at_few), (many, at_many) = found[0], found[-1]
    if many > few:
        print(f"peak memory, {many:,} inputs over {few:,}: {at_many['peak_mb'] / at_few['peak_mb']:.3f}")
        print(
            f"time, {many:,} inputs over {many / few:g} times that of {few:,}: "
            f"{at_many['seconds'] / at_few['seconds'] / (many / few):.3f}"
        )


def draw_archive(path: Path, number: int) -> None:
    with tarfile.open(path, "w") as archive:
        for at in range(number):
            data = png(at - 1 if at % _COPIES == _COPIES - 1 else at)
            member = tarfile.TarInfo(f"{at // 1000:05d}/{at:08d}.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def png(number: int) -> bytes:
    """A picture of one colour, as PNG; written by hand, since Pillow would take most of the drawing's time."""
    row = b"\0" + pack(">I", number)[1:] * _SIDE
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0))
        + _chunk(b"IDAT", zlib.compress(row * _SIDE, 1))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


class MeanColour:
    """Stand-in encoder: uint8 [n, 299, 299, 3] -> float16 [n, 2048]."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        features = np.zeros([len(pixels), 2048], np.float16)
        features[:, :3] = pixels[:, 149, 149] / 64
        return features


def run(place: Path, beam: list[str]) -> None:
    """Runs `extract` on `place`/pictures.tar and writes `place`/figures.json."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipeline.cli import set_up_logging
    from beam_pipeline.extract_features import ExtractOptions, extract

    set_up_logging(verbose=False)
    weights = place / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    options = ExtractOptions(
        images=str(place / "pictures.tar"),
        output=str(place / "features"),
        weights=str(weights),
        feature_kind="pooled",
        precision="float32",
    )
    began = time.monotonic()
    extract(options, PipelineOptions(beam), lambda spec: MeanColour())
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    (place / "figures.json").write_text(json.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
