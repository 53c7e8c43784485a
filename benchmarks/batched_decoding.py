"""How much faster captions come when many pictures are decoded together, in one run.

    python benchmarks/batched_decoding.py [--captioner DIR --features DIR] [--pictures N]

The same features are captioned three times: 64 pictures at once, one picture at a time by the same graph, and one
picture at a time the way caption scripts are usually written: the model is called once a word, and the beams are kept
in Python. Compiling is left out on all sides. To keep a drifting machine out of the ratios, the three take turns: a
batch, then its pictures one by one. Without a captioner, an attention model of the usual size with random weights
captions random grids; it hardly ever says the end mark, so every caption is of the full length.

Sums of numbers come in another order for another batch size, so that two captions that are almost equally likely may
change places; where captions differ their scores must not.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from training.data.dataset import pictures_of
from training.data.feature_set import GRID_SHAPES, EncoderIdentity, load_feature_set
from training.decoding.beam_search import LENGTH_POWER, NEVER
from training.decoding.decoder import CaptionDecoder, Hypothesis
from training.decoding.settings import DecodingSettings
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import Captioner, load_captioner
from training.models.layers import NoDropout
from training.text.tokenizer import detokenize
from training.text.vocabulary import END, PAD, SPECIALS, START, UNKNOWN, Vocabulary

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
        shape = (options.pictures, *captioner.feature_shape)
        features = np.random.default_rng(0).random(shape, np.float32).astype(np.float16)
    run(captioner, features)


def random_captioner() -> Captioner:
    model = build_model(ModelConfig("attention", SPECIALS + _WORDS), GRID_SHAPES["mixed9"])
    kernel, bias = model.output_words.get_weights()
    model.output_words.set_weights([_SHARPNESS * kernel, bias])
    encoder = EncoderIdentity("InceptionV3", "tensorflow", "", "random", 299, "", "float32", "grid", "mixed9")
    return Captioner("random weights", model, Vocabulary(tuple(f"w{n}" for n in range(_WORDS))), encoder, 16, "")


def read_features(captioner: Captioner, path: str, pictures: int) -> np.ndarray:
    feature_set = load_feature_set(path)
    captioner.require_encoder(feature_set.encoder)
    found = pictures_of(feature_set, lambda sha256, uris: True)
    return np.stack([feature for _, feature in islice(found, pictures)])


def run(captioner: Captioner, features: np.ndarray) -> None:
    # The model alone, as the script has it: no word-presence head, no confidence, no least length.
    captioner = replace(captioner, presence=None, confidence=None)
    settings = DecodingSettings(_BEAM_WIDTH, min_words=1, guidance=0.0, judge=None)
    ways = {
        f"{_BATCH} at once": Clocked(CaptionDecoder(captioner, settings, _BATCH).decode),
        "one at a time": Clocked(CaptionDecoder(captioner, settings, batch_size=1).decode),
        "one at a time, word by word": Clocked(WordByWord(captioner).decode),
    }
    for clocked in ways.values():
        clocked.decode(features[:_BATCH])  # compiles, and wakes up the machine
        clocked.reset()
    for begin in range(0, len(features), _BATCH):
        for clocked in ways.values():
            clocked.decode(features[begin : begin + _BATCH])
    print(f"{len(features)} pictures, {captioner.model.name} model, beam width {_BEAM_WIDTH}")
    together, *others = ways.values()
    for name, clocked in ways.items():
        cpu_ms = 1000 * clocked.cpu_seconds / len(features)
        print(f"{name}: {clocked.speed:.1f} images/s, {cpu_ms:.1f} ms of processor time an image")
    for name, alone in list(ways.items())[1:]:
        print(
            f"ratio to {name}: {together.speed / alone.speed:.1f} "
            f"({alone.cpu_seconds / together.cpu_seconds:.1f} in processor time)"
        )
    for alone in others:
        compare(together.captions, alone.captions)


class WordByWord:
    """The decoder that caption scripts have: one picture, one call of the model a word, beams as Python lists."""

    def __init__(self, captioner: Captioner):
        self.vocabulary, self.max_words = captioner.vocabulary, captioner.max_words + 1
        model, width = captioner.model, _BEAM_WIDTH

        @tf.function(autograph=False)
        def begin(feature):
            memory = model.encode(model.look(feature[None]), NoDropout())
            return memory, model.start(memory, width)

        @tf.function(autograph=False)
        def step(memory, state, ids):
            pre_logits, state = model.step(memory, state, ids)
            return tf.nn.log_softmax(model.logits(pre_logits))[0], state

        self._begin, self._step = begin, step

    def decode(self, features: np.ndarray) -> list[Hypothesis]:
        return [self._decode_one(feature) for feature in features]

    def _decode_one(self, feature: np.ndarray) -> Hypothesis:
        memory, state = self._begin(feature)
        beams = [Beam((), 0.0, 0)] + [Beam((), NEVER, 0)] * (_BEAM_WIDTH - 1)
        for t in range(self.max_words):
            last = [beam.words[-1] if beam.words else START for beam in beams]
            log_probabilities, state = self._step(memory, state, tf.constant([last], tf.int32))
            log_probabilities = log_probabilities.numpy()
            log_probabilities[:, [PAD, START, UNKNOWN] + ([END] if t == 0 else [])] = NEVER
            grown = []
            for row, beam in enumerate(beams):
                if beam.words[-1:] == (END,):
                    grown.append(Beam(beam.words, beam.score, row))
                    continue
                # As many as are wanted, and some more for those that would say three words again.
                for word in np.argsort(-log_probabilities[row])[: _BEAM_WIDTH + self.max_words // 3]:
                    three = (*beam.words[-2:], int(word))
                    if len(three) < 3 or three not in zip(beam.words, beam.words[1:], beam.words[2:], strict=False):
                        score = beam.score + float(log_probabilities[row, word])
                        grown.append(Beam((*beam.words, int(word)), score, row))
            beams = sorted(grown, key=lambda beam: -beam.score)[:_BEAM_WIDTH]
            if all(beam.words[-1] == END for beam in beams):
                break
            rows = tf.constant([[beam.row for beam in beams]])
            state = tuple(tf.gather(values, rows, batch_dims=1) for values in state)
        ended = [beam for beam in beams if beam.words[-1] == END]
        best = max(ended or beams, key=lambda beam: beam.score / len(beam.words) ** LENGTH_POWER)
        return Hypothesis(detokenize(self.vocabulary.decode(best.words)), best.score / len(best.words))


class Beam(NamedTuple):
    """A hypothesis of `WordByWord`: its words, their log-probability, and which hypothesis it came from."""

    words: tuple[int, ...]
    score: float
    row: int


class Clocked:
    """A way to decode, its captions, and the seconds that they took, by the clock and of all processor cores."""

    def __init__(self, decode: Callable[[np.ndarray], list[Hypothesis]]):
        self._decode = decode
        self.reset()

    def reset(self) -> None:
        self.captions: list[Hypothesis] = []
        self.seconds = self.cpu_seconds = 0.0

    def decode(self, features: np.ndarray) -> None:
        began, cpu_began = time.perf_counter(), time.process_time()
        self.captions += self._decode(features)
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
