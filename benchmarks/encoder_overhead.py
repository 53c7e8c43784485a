"""How much of the bare encoder's speed `captionbeam extract` keeps, in one run.

    python benchmarks/encoder_overhead.py --images DIR --weights PATH [--pictures 2000]

A loop that feeds the same frozen encoder from memory, its batches decoded beforehand, is the measure; the pipeline
reads, decodes, encodes and writes. Start-up is left out on both sides: the pipeline's clock runs from the moment when
its encoder is warm to the last ledger. To keep a drifting machine out of the ratio, the bare loop
runs before and after the pipeline, and its mean speed counts.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.collection import Listing, resolve_source
from beam_pipeline.encoder import ENCODER_BATCH, LAYERS, load_encoder, resolve_encoder
from beam_pipeline.extract_features import ExtractOptions, extract
from beam_pipeline.images import decode_image
from beam_pipeline.isolated_decoding import Decoding
from beam_pipeline.reading import sample_pixels
from beam_pipeline.storage import read_bytes

_ROUNDS = 20  # batches of the bare loop, each time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--weights", required=True, help="imagenet, random or a path")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        run(options, work)


def run(options: argparse.Namespace, work: str) -> None:
    files = zip(Listing(resolve_source(options.images)), range(options.pictures), strict=False)
    uris = [file.uri for file, _ in files]
    images = f"{work}/list.txt"
    with open(images, "w") as file:
        file.writelines(uri + "\n" for uri in uris)
    spec = resolve_encoder(
        options.weights,
        "grid",
        LAYERS[0],
        options.precision,
        work,
        lambda: sample_pixels(resolve_source(images), Decoding()),
    )
    encoder = load_encoder(spec)
    decoded = [decode_image(read_bytes(uri)).pixels for uri in uris[: 4 * ENCODER_BATCH]]
    batches = [np.stack(decoded[begin : begin + ENCODER_BATCH]) for begin in range(0, len(decoded), ENCODER_BATCH)]

    clock = Clock()
    log = logging.getLogger("captionbeam")
    log.addHandler(clock)
    log.setLevel(logging.INFO)
    before = bare_speed(encoder, batches)
    features = extract(
        ExtractOptions(images=images, output=f"{work}/features", weights=options.weights, precision=options.precision),
        PipelineOptions([]),
        load_and_say,
    )
    after = bare_speed(encoder, batches)

    bare = (before + after) / 2
    pipeline = features.records / (clock.last - clock.first)
    print(f"bare encoder {bare:.2f} img/s ({before:.2f} before, {after:.2f} after), {spec.identity.precision}")
    print(f"extract      {pipeline:.2f} img/s over {features.records} pictures")
    print(f"ratio        {pipeline / bare:.3f}")


def load_and_say(spec):
    """Loads the encoder, and logs when it is warm: there start-up ends."""
    encoder = load_encoder(spec)
    logging.getLogger("captionbeam").info("encoder is warm")
    return encoder


class Clock(logging.Handler):
    """Notes when the pipeline's encoder is warm and when the last shard says that it is committed."""

    first = last = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "encoder is warm":
            self.first = time.monotonic()
        elif record.msg.startswith("shard "):
            self.last = time.monotonic()


def bare_speed(encoder, batches: list[np.ndarray]) -> float:
    """Images/s of the encoder alone."""
    encoder.encode(batches[0])
    began = time.monotonic()
    for number in range(_ROUNDS):
        encoder.encode(batches[number % len(batches)])
    return _ROUNDS * ENCODER_BATCH / (time.monotonic() - began)


if __name__ == "__main__":
    main()
