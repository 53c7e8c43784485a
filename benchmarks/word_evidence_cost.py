"""What word evidence adds to the time of captioning from images, in one run.

    python benchmarks/word_evidence_cost.py [--captioner DIR --weights PATH --images DIR] [--pictures N]

Each batch of 64 pictures is encoded, captioned without evidence and captioned with it; the two ways take turns, so that
a drifting machine stays out of the ratio. Both ways' captions are made into rows and word statistics a shard of 512
pictures at a time, as `captionbeam caption` makes them.
Reading and decoding of files are left out, which would make the ratio smaller. Compiling is left out
too. Without arguments all weights and pictures are random, in the usual sizes; the head is then as sure of its words as
a trained one: about 80 of them above the floor in each picture.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from batched_decoding import random_captioner

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.captions.shard import DECODER_BATCH, captioned_picture
from beam_pipeline.encoders.base import ENCODER_BATCH, SAMPLE_PICTURES, EncoderRequest
from beam_pipeline.encoders.registry import load_encoder, resolve_encoder
from beam_pipeline.images.decode import decode_image
from beam_pipeline.inputs.sources import Listing, resolve_collection
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.runtime.storage import read_bytes
from beam_pipeline.words.shard_statistics import shard_statistics
from training.decoding.decoder import CaptionDecoder
from training.models.captioner import Captioner, load_captioner
from training.models.presence import PresenceHead, inputs_of
from training.options import PresenceOptions

_SIZE = 299
_ENCODING = "encoding"
_SHARD = CaptionOptions.shard_size  # pictures; what `caption` makes by default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", help="directory that train made; without it, random weights")
    parser.add_argument("--weights", help="encoder weights of the captioner; needed with --captioner")
    parser.add_argument("--images", help="folder of pictures; needed with --captioner")
    parser.add_argument("--pictures", type=int, default=512)
    options = parser.parse_args()
    if len({bool(options.captioner), bool(options.weights), bool(options.images)}) != 1:
        parser.error("--captioner, --weights and --images go together")
    pixels = read_pixels(options.images, options.pictures)
    captioner = load_captioner(options.captioner) if options.captioner else with_random_head(random_captioner())
    if captioner.presence is None:
        parser.error(f"{options.captioner} has no word-presence head; train it again")
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        identity = captioner.encoder
        request = EncoderRequest(options.weights or "random", identity.feature_kind, identity.layer, "auto")
        spec = resolve_encoder(request, work, lambda: pixels[:SAMPLE_PICTURES])
        run(load_encoder(spec), captioner, pixels)


def read_pixels(images: str | None, pictures: int) -> np.ndarray:
    """Folder, or None for noise -> uint8 [n, 299, 299, 3], whole batches only."""
    whole = max(pictures // DECODER_BATCH, 1) * DECODER_BATCH
    if images is None:
        return np.random.default_rng(0).integers(0, 256, (whole, _SIZE, _SIZE, 3), dtype=np.uint8)
    files = islice(Listing(resolve_collection(images)), whole)
    found = np.stack([decode_image(read_bytes(file.uri)).pixels for file in files])
    return found[: len(found) // DECODER_BATCH * DECODER_BATCH]


def with_random_head(captioner: Captioner) -> Captioner:
    options, words = PresenceOptions(), captioner.vocabulary.words
    generator, (cells, channels) = np.random.default_rng(0), inputs_of(captioner.model.seen_shape)
    units = options.members * options.hidden_size
    # The share of pictures that people use the n-th commonest word of: about 1/n.
    rates = 0.5 / np.arange(1, len(words) + 1)
    head = PresenceHead(
        words=words,
        rare={},
        hidden_kernel=generator.normal(size=(channels, units)).astype(np.float32) / 64,
        hidden_bias=np.zeros(units, np.float32),
        output_kernel=generator.normal(size=(options.members, 2 * options.hidden_size, len(words))).astype(np.float32)
        / 32,
        output_bias=np.tile(np.log(rates), (options.members, 1, 1)).astype(np.float32),
        mean_inputs=np.ones([cells, channels], np.float32),
    )
    return replace(captioner, presence=head)


def run(encoder, captioner: Captioner, pixels: np.ndarray) -> None:
    plain, knowing = "captioning", "captioning with evidence"
    decoders = {plain: CaptionDecoder(captioner), knowing: CaptionDecoder(captioner, evidence=True)}
    warm_up = caption_shard(encoder, decoders, pixels[:DECODER_BATCH], defaultdict(float))[knowing]
    words = sum(len(one.evidence["words"]) for one in warm_up if one.evidence)
    print(f"{words / len(warm_up):.0f} words of a picture have evidence")
    seconds: dict[str, float] = defaultdict(float)
    for begin in range(0, len(pixels), _SHARD):
        caption_shard(encoder, decoders, pixels[begin : begin + _SHARD], seconds)
    for way, spent in seconds.items():
        print(f"{way:<26}{1000 * spent / len(pixels):8.2f} ms a picture")
    without = seconds[_ENCODING] + seconds[plain]
    print(f"ratio {(seconds[_ENCODING] + seconds[knowing]) / without:.3f} over {len(pixels)} pictures")


def caption_shard(
    encoder, decoders: dict[str, CaptionDecoder], pixels: np.ndarray, seconds: dict[str, float]
) -> dict[str, list[CaptionedPicture]]:
    """Captions a shard each way, and adds the seconds that it took to `seconds`."""
    captions: dict[str, list[CaptionedPicture]] = {way: [] for way in decoders}
    for number, begin in enumerate(range(0, len(pixels), DECODER_BATCH)):
        batch = pixels[begin : begin + DECODER_BATCH]
        with timed(_ENCODING, seconds):
            encoded = [encoder.encode(batch[n : n + ENCODER_BATCH]) for n in range(0, len(batch), ENCODER_BATCH)]
            features = np.concatenate(encoded)
        for way in reversed(decoders) if number % 2 else decoders:
            with timed(way, seconds):
                hypotheses = enumerate(decoders[way].decode(features), begin)
                captions[way] += [captioned_picture(f"{n:064x}", f"{n}.jpg", one) for n, one in hypotheses]
    for way, pictures in captions.items():
        with timed(way, seconds):
            write(pictures)
    return captions


@contextmanager
def timed(name: str, seconds: dict[str, float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - began


def write(pictures: list[CaptionedPicture]) -> None:
    """A shard's pictures -> its rows and word statistics."""
    for picture in pictures:
        json.dumps(picture.to_json())
    shard_statistics(pictures, {picture.sha256: 1 for picture in pictures})


if __name__ == "__main__":
    main()
