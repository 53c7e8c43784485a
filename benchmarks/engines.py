"""What each engine and precision of the encoder costs: its speed, how its features differ, and what captions become.

    ./run_local.sh bench engines --images Images --list Flickr_8k.devImages.txt --captions captions.txt \
        --weights PATH --captioner captioner [--int8]

The captioner decodes features of every engine, though it was trained on one of them: `captionbeam` itself refuses that.
A caption counts as changed, and CIDEr as lost, against the engine and precision that the captioner was trained with;
cosines are those of a picture's grid cells with TensorFlow's float32. All engines encode the same few pictures in turn,
and speeds are medians of the ratios to TensorFlow's float32 of these turns, so that a drifting machine stays out of
them: by the clock, and by processor time, which other programs on the machine hardly touch.

`--int8` adds what OpenVINO does with 8-bit whole numbers, quantized by nncf (pip install nncf) on pictures outside the
list; `captionbeam` does not offer it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from beam_pipeline import openvino_encoder, storage
from beam_pipeline.encoder import ENCODER_BATCH, ENGINES, Encoder, EncoderSpec, load_encoder, resolve_encoder
from beam_pipeline.images import decode_image
from training.caption_files import read_captions, read_image_list
from training.captioner import load_captioner
from training.decoding import CaptionDecoder
from training.feature_set import EncoderIdentity
from training.scores import cider_of_pictures, intervals_of, make_row, mean_statistics

_TURN = 4 * ENCODER_BATCH  # pictures that each engine encodes before the next one has its turn
_REFERENCE = "tensorflow float32"
_CALIBRATION_PICTURES = 48  # 300 bring the features no nearer to float32's


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
    parser.add_argument("--int8", action="store_true")
    options = parser.parse_args()

    captioner = load_captioner(options.captioner)
    names = read_image_list(options.list)[: options.pictures]
    own = f"{captioner.encoder.engine} {captioner.encoder.precision}"
    specs = resolve(options.weights, captioner.encoder)
    encoders = {name: load_encoder(spec) for name, spec in specs.items()}
    if options.int8:
        calibration = sorted(set(os.listdir(options.images)) - set(names))[:_CALIBRATION_PICTURES]
        pixels = [pixels_of(options.images, name)[None] for name in calibration]
        encoders["openvino int8"] = int8_encoder(specs["openvino float32"], pixels)
    measured = measure(encoders, CaptionDecoder(captioner), Path(options.images), names)
    references = defaultdict(list)
    for row in read_captions(options.captions):
        references[row.image].append(row.text)
    print(f"{len(names)} pictures; captioner {captioner.model_id}, trained on features of {own}")
    for line in table(measured, own, references):
        print(line)


def resolve(weights: str, encoder: EncoderIdentity) -> dict[str, EncoderSpec]:
    """Every engine and precision for features of the captioner's kind and layer."""

    def no_sample() -> np.ndarray:
        raise SystemExit("--weights: give a file, or imagenet")

    return {
        f"{engine} {precision}": resolve_encoder(
            weights, encoder.feature_kind, encoder.layer, precision, "", no_sample, engine
        )
        for engine in ENGINES
        for precision in ("float32", "bfloat16")
    }


def pixels_of(folder: str | Path, name: str) -> np.ndarray:
    return decode_image(storage.read_bytes(os.path.join(folder, name))).pixels


def int8_encoder(spec: EncoderSpec, calibration: list[np.ndarray]) -> Encoder:
    """The graph with weights and activations in 8 bits, biases corrected, the rest in float32."""
    openvino = openvino_encoder.import_openvino()
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # nncf reports itself too
    import nncf

    quantized = nncf.quantize(
        openvino_encoder.graph(openvino, spec),
        nncf.Dataset(calibration),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
    )
    return openvino_encoder.OpenVinoEncoder(
        openvino, openvino_encoder.compiled(openvino, quantized, spec.identity.precision)
    )


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
    scores = {name: cider_of_pictures(make_row(found.captions, references)) for name, found in measured.items()}
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
