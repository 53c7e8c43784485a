"""What each engine and precision of the encoder costs: its speed, how its features differ, and what captions become.

    ./run_local.sh bench engines --images Images --list Flickr_8k.devImages.txt --captions captions.txt \
        --weights PATH --captioner captioner [--no-int8]

The captioner decodes features of every engine, though it was trained on one of them: `captionbeam` itself refuses that.
A caption counts as changed, and CIDEr as lost, against the engine and precision that the captioner was trained with;
cosines are those of a picture's grid cells with TensorFlow's float32. All engines encode the same few pictures in turn,
and speeds are medians of the ratios to TensorFlow's float32 of these turns, so that a drifting machine stays out of
them: by the clock, and by processor time, which other programs on the machine hardly touch.

OpenVINO's 8-bit whole numbers are those that the captioner was trained with, or else quantized here on pictures outside
the list, which takes nncf (pip install '.[int8]').
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from beam_pipeline.captions.decoder import encoder_of_captioner
from beam_pipeline.encoders.base import ENCODER_BATCH, SAMPLE_PICTURES, Encoder, EncoderRequest, EncoderSpec
from beam_pipeline.encoders.registry import ENGINES, load_encoder, resolve_encoder
from beam_pipeline.images.decode import decode_image
from beam_pipeline.runtime import storage
from training.data.caption_files import read_captions, read_image_list
from training.decoding.decoder import CaptionDecoder
from training.models.captioner import Captioner, load_captioner
from training.scoring.scores import caption_set, cider_of_pictures, intervals_of, mean_statistics

_TURN = 4 * ENCODER_BATCH  # pictures that each engine encodes before the next one has its turn
_REFERENCE = "tensorflow float32"
_FLOATS = ("float32", "bfloat16")


@dataclass
class Measured:
    """What an engine did with the pictures: seconds of each turn, cosines [cells], and captions by name."""

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    cosines: list[np.ndarray] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures")
    parser.add_argument("--list", required=True, help="names of the pictures to caption, one a line")
    parser.add_argument("--captions", required=True, help="what people wrote about them")
    parser.add_argument("--weights", required=True, help="encoder weights")
    parser.add_argument("--captioner", required=True, help="directory that train made")
    parser.add_argument("--pictures", type=int, help="as many of the list only")
    parser.add_argument("--no-int8", action="store_true", help="leave 8-bit whole numbers out")
    options = parser.parse_args()

    captioner = load_captioner(options.captioner)
    names = read_image_list(options.list)[: options.pictures]
    own = f"{captioner.encoder.engine} {captioner.encoder.precision}"
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        specs = resolve(options.weights, captioner, work)
        if not options.no_int8:
            others = sorted(set(os.listdir(options.images)) - set(names))[:SAMPLE_PICTURES]
            specs["openvino int8"] = resolve_int8(options.weights, captioner, work, options.images, others)
        encoders = {name: load_encoder(spec) for name, spec in specs.items()}
    measured = measure(encoders, CaptionDecoder(captioner), Path(options.images), names)
    references = defaultdict(list)
    for row in read_captions(options.captions):
        references[row.image].append(row.text)
    print(f"{len(names)} pictures; captioner {captioner.model_id}, trained on features of {own}")
    for line in table(measured, own, references):
        print(line)


def resolve(weights: str, captioner: Captioner, work: str) -> dict[str, EncoderSpec]:
    """Every engine in float32 and bfloat16, for features of the captioner's kind and layer."""

    def no_sample() -> np.ndarray:
        raise SystemExit("--weights: give a file, or imagenet")

    kind, layer = captioner.encoder.feature_kind, captioner.encoder.layer
    return {
        f"{engine} {precision}": resolve_encoder(
            EncoderRequest(weights, kind, layer, precision, engine), work, no_sample
        )
        for engine in ENGINES
        for precision in _FLOATS
    }


def resolve_int8(weights: str, captioner: Captioner, work: str, folder: str, names: list[str]) -> EncoderSpec:
    """The captioner's own encoder in int8, or one that is quantized on the named pictures."""
    wanted = captioner.encoder
    if wanted.precision == "int8":
        return encoder_of_captioner(captioner, captioner.path, None)

    def sample() -> np.ndarray:
        return np.stack([pixels_of(folder, name) for name in names])

    return resolve_encoder(EncoderRequest(weights, wanted.feature_kind, wanted.layer, "int8", "openvino"), work, sample)


def pixels_of(folder: str | Path, name: str) -> np.ndarray:
    return decode_image(storage.read_bytes(os.path.join(folder, name))).pixels


def measure(
    encoders: dict[str, Encoder], decoder: CaptionDecoder, folder: Path, names: list[str]
) -> dict[str, Measured]:
    """Encodes and captions the pictures with every encoder in turns."""
    measured = {name: Measured() for name in encoders}
    for at in range(0, len(names), _TURN):
        turn = names[at : at + _TURN]
        pixels = np.stack([pixels_of(folder, name) for name in turn])
        features = {name: timed(encoder, pixels, measured[name]) for name, encoder in encoders.items()}
        for name, found in measured.items():
            found.cosines.append(cosines(features[name], features[_REFERENCE]))
            said = decoder.decode(features[name])
            found.captions |= {one: hypothesis.caption for one, hypothesis in zip(turn, said, strict=True)}
        print(f"\r{at + len(turn)} of {len(names)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return measured


def timed(encoder: Encoder, pixels: np.ndarray, measured: Measured) -> np.ndarray:
    began, processor_began = time.monotonic(), time.process_time()
    features = np.concatenate(
        [encoder.encode(pixels[at : at + ENCODER_BATCH]) for at in range(0, len(pixels), ENCODER_BATCH)]
    )
    measured.seconds.append(time.monotonic() - began)
    measured.processor_seconds.append(time.process_time() - processor_began)
    return features


def cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Features [n, ..., C] of the same pictures -> cosine of each cell."""
    one, two = (features.astype(np.float64).reshape(-1, features.shape[-1]) for features in (one, two))
    return (one * two).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1))


def table(measured: dict[str, Measured], own: str, references: dict[str, list[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    trained = measured[own].captions
    scores = {name: cider_of_pictures(caption_set(found.captions, references)) for name, found in measured.items()}
    yield "| engine | speed by the clock | by processor time | mean cosine | 1 % are below | captions changed | CIDEr |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, found in measured.items():
        clock = ratio(measured[_REFERENCE].seconds, found.seconds)
        processor = ratio(measured[_REFERENCE].processor_seconds, found.processor_seconds)
        cosine = np.concatenate(found.cosines)
        changed = np.mean([found.captions[one] != trained[one] for one in trained])
        lost = mean_statistics("CIDEr", 100 * (scores[name] - scores[own]))
        ((low, high),) = intervals_of([lost]).values()
        change = "" if name == own else f", {low:+.2f} to {high:+.2f} more"
        yield (
            f"| {name} | {clock:.2f} | {processor:.2f} | {cosine.mean():.5f} | {np.quantile(cosine, 0.01):.5f} | "
            f"{changed:.1%} | {100 * scores[name].mean():.2f}{change} |"
        )


def ratio(reference: list[float], seconds: list[float]) -> float:
    return float(np.median(np.array(reference) / np.array(seconds)))


if __name__ == "__main__":
    main()
