"""How fast `extract` and `caption` are beside what they are made of and what people would write instead, in one run.

    python benchmarks/throughput.py --images DIR --weights PATH [--captioner DIR] [--engine openvino] \
        [--precision int8] [--pictures 2000] [--megapixels M]

| who | what it does |
|---|---|
| bare encoder | the same frozen graph, fed from memory with batches that were decoded beforehand |
| Keras loop | a user's own script: InceptionV3 in float32, pictures loaded and predicted batch by batch |
| per-image script | Show and Tell's way: load, encode and decode one picture at a time, the models kept loaded |
| extract, caption | the jobs |

Start-up (imports, loading and tracing the models) is left out on all sides and told apart: the clock of a job runs from
the moment when its encoder is warm to its end. To keep a drifting machine out of the ratios, the bare encoder runs
between any two others, and each is compared with the mean of its two neighbours. With `--megapixels` the pictures are
JPEGs of that size, made of the given ones.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from apache_beam.options.pipeline_options import PipelineOptions
from one_by_one import describer, keras_model, load_picture
from PIL import Image

from beam_pipeline.caption_images import caption
from beam_pipeline.encoders.base import ENCODER_BATCH, Encoder, EncoderRequest, EncoderSpec
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder
from beam_pipeline.extract_features import extract
from beam_pipeline.images.decode import INPUT_SIZE, decode_image
from beam_pipeline.inputs.sources import Listing, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.options.extract import DEFAULT_LAYERS, ExtractOptions
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.runtime.storage import read_bytes
from beam_pipeline.shards.encoding import sample_pixels
from training.models.captioner import load_captioner

_ROUNDS = 20  # batches of the bare loop, each time
_LAYER = DEFAULT_LAYERS["grid"]
_KERAS_BATCH = 32  # Keras' own default
_JPEG_QUALITY = 90
_WARM = "encoder is warm"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--weights", required=True, help="random or a path")
    parser.add_argument("--captioner", help="directory that train made; without it, caption is left out")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--megapixels", type=float, help="size of JPEGs to make of the pictures first")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--engine", default="tensorflow", help="of extract; caption has its captioner's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        run(options, Path(work))


def run(options: argparse.Namespace, work: Path) -> None:
    found = [file.uri for file in itertools.islice(Listing(resolve_collection(options.images)), options.pictures)]
    uris = enlarged(found, options.megapixels, work / "large") if options.megapixels else found
    images = work / "list.txt"
    images.write_text("".join(uri + "\n" for uri in uris))
    megabytes = sum(os.path.getsize(uri) for uri in uris[:100]) / len(uris[:100]) / 1e6
    source = resolve_collection(str(images))
    request = EncoderRequest(options.weights, "grid", _LAYER, options.precision, options.engine)
    spec = resolve_encoder(request, str(work), lambda: sample_pixels(source, DecodeLimits()))
    began = time.monotonic()
    encoder = load_encoder(spec)
    print(f"{len(uris)} pictures of {megabytes:.2f} MB, {spec.identity}")
    print(f"encoder loaded and traced in {time.monotonic() - began:.1f} s", flush=True)
    bare = BareEncoder(encoder, uris[: 4 * ENCODER_BATCH])

    few = uris[: min(len(uris), 10 * _KERAS_BATCH)]
    races: dict[str, Callable[[], tuple[int, float]]] = {
        "extract": lambda: extract_job(images, work / "features", options),
        "Keras loop, float32": lambda: keras_loop(few, options.weights),
    }
    if options.captioner:
        races["caption"] = lambda: caption_job(images, work / "captions", options)
        races["per-image script"] = lambda: per_image_script(few[:128], options.weights, options.captioner)
    speeds = {}
    before = bare.speed()
    for name, race in races.items():
        pictures, seconds = race()
        after = bare.speed()
        speeds[name] = pictures / seconds
        mean = (before + after) / 2
        print(
            f"{name:<20} {speeds[name]:7.2f} img/s over {pictures} pictures, bare encoder {before:.2f} and "
            f"{after:.2f}: {speeds[name] / mean:.3f} of it",
            flush=True,
        )
        before = after
    print(f"extract over the Keras loop: {speeds['extract'] / speeds['Keras loop, float32']:.2f}")
    if options.captioner:
        print(f"caption over the per-image script: {speeds['caption'] / speeds['per-image script']:.2f}")


def enlarged(uris: list[str], megapixels: float, folder: Path) -> list[str]:
    """Pictures -> paths of JPEGs of 4:3 and so many megapixels made of them, with the noise that a sensor has."""
    folder.mkdir()
    size = tuple(round(side * (megapixels * 1e6 / 12) ** 0.5) for side in (4, 3))
    grain = np.random.default_rng(0).integers(-3, 4, (size[1], size[0], 1), np.int8)
    paths = []
    for number, uri in enumerate(uris):
        with Image.open(uri) as image:
            large = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.int16) + grain
        paths.append(str(folder / f"{number:05d}.jpg"))
        Image.fromarray(large.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=_JPEG_QUALITY)
    return paths


class BareEncoder:
    """The encoder fed from memory."""

    def __init__(self, encoder: Encoder, uris: list[str]):
        decoded = [decode_image(read_bytes(uri)).pixels for uri in uris]
        self.encoder = encoder
        self.batches = [np.stack(decoded[at : at + ENCODER_BATCH]) for at in range(0, len(decoded), ENCODER_BATCH)]

    def speed(self) -> float:
        """Images/s."""
        self.encoder.encode(self.batches[0])
        began = time.monotonic()
        for number in range(_ROUNDS):
            self.encoder.encode(self.batches[number % len(self.batches)])
        return _ROUNDS * ENCODER_BATCH / (time.monotonic() - began)


class WarmAt(logging.Handler):
    """Notes when a job's encoder is warm: there start-up ends. Beam sends functions to its workers by value, so that
    a variable of this file would be another one there; the logger is the same.
    """

    at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == _WARM:
            self.at = time.monotonic()


warm = WarmAt()


def load_and_say(spec: EncoderSpec) -> Encoder:
    encoder = load_encoder(spec)
    encoder.encode(np.zeros([1, INPUT_SIZE, INPUT_SIZE, 3], np.uint8))
    logging.getLogger("captionbeam").info(_WARM)
    return encoder


def extract_job(images: Path, output: Path, options: argparse.Namespace) -> tuple[int, float]:
    """-> pictures and seconds."""
    chosen = ExtractOptions(
        str(images), str(output), weights=options.weights, precision=options.precision, engine=options.engine
    )
    features = extract(chosen, PipelineOptions([]), load_and_say)
    return features.records, time.monotonic() - warm.at


def caption_job(images: Path, output: Path, options: argparse.Namespace) -> tuple[int, float]:
    """-> pictures and seconds, word tables included."""
    # An encoder in int8 lies with its captioner, weights included.
    weights = None if load_captioner(options.captioner).encoder.precision == "int8" else options.weights
    chosen = CaptionOptions(options.captioner, str(output), images=str(images), weights=weights)
    summary = caption(chosen, PipelineOptions([]), load_and_say)
    return summary["pictures"], time.monotonic() - warm.at


def keras_loop(uris: list[str], weights: str) -> tuple[int, float]:
    """-> pictures and seconds."""
    model = keras_model(weights, _LAYER)
    model.predict(np.zeros([_KERAS_BATCH, 299, 299, 3], np.float32), verbose=0)
    began = time.monotonic()
    for at in range(0, len(uris), _KERAS_BATCH):
        model.predict(np.stack([load_picture(uri) for uri in uris[at : at + _KERAS_BATCH]]), verbose=0)
    return len(uris), time.monotonic() - began


def per_image_script(uris: list[str], weights: str, captioner: str) -> tuple[int, float]:
    """-> pictures and seconds."""
    describe = describer(weights, captioner)
    describe(uris[0])
    began = time.monotonic()
    for uri in uris:
        describe(uri)
    return len(uris), time.monotonic() - began


if __name__ == "__main__":
    gc.freeze()  # what is imported, as the command does
    logging.getLogger("captionbeam").setLevel(logging.INFO)
    logging.getLogger("captionbeam").addHandler(warm)
    main()
