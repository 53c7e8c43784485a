"""Memory and time of `extract` or `caption` by the number of their inputs.

    python benchmarks/scale.py [--stage extract|caption] [--inputs 10000,100000] [--beam OPTIONS]

Draws an archive of so many tiny pictures of one colour each, every tenth a copy of another, and runs the stage on it in
a process of its own. The encoder is a stand-in (the mean colour) and the captioner a tiny untrained one without a
word-presence head: what is measured is listing, deduplication, sharding, reading, decoding, the ledger, and of
`caption` the word statistics. Peak memory is that of the main process, as the kernel counts it; decoders of pictures
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from struct import pack

import numpy as np

_SIDE = 8
_WORDS = 1000  # of the captioner's vocabulary
_COPIES = 10  # every so many inputs one is a copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", default="10000,100000", help="numbers of inputs, separated by commas")
    parser.add_argument("--stage", choices=("extract", "caption"), default="extract")
    parser.add_argument("--beam", default="", help="options for Beam")
    parser.add_argument("--work", help="directory for what is drawn and made (default: a temporary one)")
    parser.add_argument("--run", help=argparse.SUPPRESS)  # the process of one job
    options = parser.parse_args()
    if options.run:
        run(options.stage, Path(options.run), options.beam.split())
        return
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-", dir=options.work) as work:
        compare(options, Path(work))


def compare(options: argparse.Namespace, work: Path) -> None:
    found = []
    for number in map(int, options.inputs.split(",")):
        place = work / str(number)
        place.mkdir()
        draw_archive(place / "pictures.tar", number)
        command = [sys.executable, __file__, "--run", str(place), f"--stage={options.stage}", f"--beam={options.beam}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        figures = json.loads((place / "figures.json").read_text())
        found.append((number, figures))
        print(
            f"{options.stage} of {number:>9,} inputs: {figures['seconds']:8.1f} s, "
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


def run(stage: str, place: Path, beam: list[str]) -> None:
    """Runs a stage on `place`/pictures.tar and writes `place`/figures.json."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_pipeline.runtime.logs import set_up_logging

    set_up_logging(verbose=False)
    weights = place / "weights.h5"
    weights.write_bytes(b"\x89HDF\r\n\x1a\nstand-in")
    job = {"extract": extract_job, "caption": caption_job}[stage](place, str(weights))
    began = time.monotonic()
    job(PipelineOptions(beam), lambda spec: MeanColour())
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    (place / "figures.json").write_text(json.dumps({"seconds": seconds, "peak_mb": peak}))


def extract_job(place: Path, weights: str) -> Callable[..., object]:
    from beam_pipeline.extract_features import extract
    from beam_pipeline.options.extract import ExtractOptions

    options = ExtractOptions(
        images=str(place / "pictures.tar"),
        output=str(place / "features"),
        weights=weights,
        feature_kind="pooled",
        precision="float32",
    )
    return partial(extract, options)


def caption_job(place: Path, weights: str) -> Callable[..., object]:
    from beam_pipeline.caption_images import caption
    from beam_pipeline.encoders.base import EncoderRequest
    from beam_pipeline.encoders.registry import resolve_encoder
    from beam_pipeline.options.caption import CaptionOptions
    from training.models.caption_models import ModelConfig, build_model
    from training.models.captioner import save_weights, write_config
    from training.text.vocabulary import VOCABULARY, Vocabulary

    captioner = place / "captioner"
    captioner.mkdir()
    identity = resolve_encoder(EncoderRequest(weights, "pooled", "mixed9", "float32"), str(place), list).identity
    vocabulary = Vocabulary(tuple(f"w{number}" for number in range(_WORDS)))
    config = ModelConfig("merge", len(vocabulary), embedding_size=8, hidden_size=16)
    save_weights(build_model(config, (2048,)), str(captioner))
    write_config(str(captioner), config, identity, 8, 4, {})
    vocabulary.save(str(captioner / VOCABULARY))
    options = CaptionOptions(
        captioner=str(captioner),
        output=str(place / "captions"),
        images=str(place / "pictures.tar"),
        weights=weights,
        report=False,
    )
    return partial(caption, options)


if __name__ == "__main__":
    main()
