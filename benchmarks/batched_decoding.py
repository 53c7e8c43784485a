"""How much faster captions come when many pictures are decoded together, in one run.

    python benchmarks/batched_decoding.py [--captioner DIR --features DIR] [--pictures N]

The same beam search captions the same features twice: 64 pictures at once, and one picture at a time. Compiling is left
out on both sides. To keep a drifting machine out of the ratio, the two take turns: a batch, then its pictures one by
one. Without a captioner, an attention model of the usual size with random weights captions random grids; it hardly ever
says the end mark, so every caption is of the full length.

Sums of numbers come in another order for another batch size, so that two captions that are almost equally likely may
change places; where captions differ their scores must not.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import islice

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from training.captioner import Captioner, load_captioner
from training.dataset import pictures_of
from training.decoding import CaptionDecoder, Hypothesis
from training.feature_records import GRID_SHAPE
from training.feature_set import EncoderIdentity, load_feature_set
from training.models import ModelConfig, build_model
from training.vocabulary import SPECIALS, Vocabulary

_BATCH = 64
_BEAM_WIDTH = 3
_WORDS = 2500 - SPECIALS
_SHARPNESS = 8.0  # of the random output weights: a trained model is about as sure of its words
_SAME_SCORE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captioner", help="directory that train made; without it, random weights")
    parser.add_argument("--features", help="feature set that the captioner can read; needed with --captioner")
    parser.add_argument("--pictures", type=int, default=512)
    options = parser.parse_args()
    if bool(options.captioner) != bool(options.features):
        parser.error("--captioner and --features go together")
    if options.captioner:
        captioner = load_captioner(options.captioner)
        features = read_features(captioner, options.features, options.pictures)
    else:
        captioner = random_captioner()
        features = np.random.default_rng(0).random((options.pictures, *GRID_SHAPE), np.float32).astype(np.float16)
    run(captioner, features)


def random_captioner() -> Captioner:
    model = build_model(ModelConfig("attention", SPECIALS + _WORDS), GRID_SHAPE)
    kernel, bias = model.output_words.get_weights()
    model.output_words.set_weights([_SHARPNESS * kernel, bias])
    encoder = EncoderIdentity("InceptionV3", "tensorflow", "", "random", 299, "", "float32", "grid")
    return Captioner("random weights", model, Vocabulary(tuple(f"w{n}" for n in range(_WORDS))), encoder, 16, "")


def read_features(captioner: Captioner, path: str, pictures: int) -> np.ndarray:
    feature_set = load_feature_set(path)
    captioner.require_encoder(feature_set.encoder)
    found = pictures_of(feature_set, lambda sha256, uris: True)
    return np.stack([feature for _, feature in islice(found, pictures)])


def run(captioner: Captioner, features: np.ndarray) -> None:
    batched = CaptionDecoder(captioner, _BEAM_WIDTH, _BATCH)
    single = CaptionDecoder(captioner, _BEAM_WIDTH, batch_size=1)
    for decoder in (batched, single):
        decoder.decode(features[:_BATCH])  # compiles, and wakes up the machine
    together, alone = Clocked(batched), Clocked(single)
    for begin in range(0, len(features), _BATCH):
        for clocked in (together, alone):
            clocked.decode(features[begin : begin + _BATCH])
    print(f"{len(features)} pictures, {captioner.model.name} model, beam width {_BEAM_WIDTH}")
    for name, clocked in ((f"{_BATCH} at once", together), ("one at a time", alone)):
        cpu_ms = 1000 * clocked.cpu_seconds / len(features)
        print(f"{name}: {clocked.speed:.1f} images/s, {cpu_ms:.1f} ms of processor time an image")
    print(
        f"ratio: {together.speed / alone.speed:.1f} ({alone.cpu_seconds / together.cpu_seconds:.1f} in processor time)"
    )
    compare(together.captions, alone.captions)


class Clocked:
    """A decoder, its captions, and the seconds that they took, by the clock and of all processor cores."""

    def __init__(self, decoder: CaptionDecoder):
        self.decoder = decoder
        self.captions: list[Hypothesis] = []
        self.seconds = self.cpu_seconds = 0.0

    def decode(self, features: np.ndarray) -> None:
        began, cpu_began = time.perf_counter(), time.process_time()
        self.captions += self.decoder.decode(features)
        self.seconds += time.perf_counter() - began
        self.cpu_seconds += time.process_time() - cpu_began

    @property
    def speed(self) -> float:
        """Images a second."""
        return len(self.captions) / self.seconds


def compare(together: list[Hypothesis], alone: list[Hypothesis]) -> None:
    """Tells how many captions are equal; ends with status 1 if one differs that is not as likely."""
    other = [(one, two) for one, two in zip(together, alone, strict=True) if one.caption != two.caption]
    words = np.mean([len(one.caption.split()) for one in together])
    print(f"equal captions: {len(together) - len(other)} of {len(together)}; {words:.1f} words on average")
    apart = max((abs(one.score - two.score) for one, two in zip(together, alone, strict=True)), default=0.0)
    print(f"scores differ by {apart:.1e} at most")
    if any(abs(one.score - two.score) > _SAME_SCORE for one, two in other):
        raise SystemExit("captions depend on the batch")


if __name__ == "__main__":
    main()
