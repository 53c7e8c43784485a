"""Small synthetic feature sets whose captions the features determine, and what is needed to make others."""

import hashlib
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training.data.feature_records import FeatureRecord, serialize
from training.data.feature_set import GRID_SHAPES, EncoderIdentity, FeatureSet, Shard
from training.decoding.decoder import CaptionDecoder
from training.decoding.settings import decoding_settings
from training.documents import to_document
from training.models import captioner as store
from training.models.calibration import Calibration
from training.models.caption_models import ModelConfig, build_model
from training.models.captioner import judged_id, load_captioner
from training.models.confidence import Confidence, content_number, fingerprints
from training.models.familiarity import Familiarity
from training.models.judge import SIGNALS, Judge
from training.models.phrases import PhraseHead
from training.models.presence import PresenceHead, inputs_of
from training.options import DecodingOptions
from training.own_names import VOCABULARY
from training.text.vocabulary import Vocabulary

ANIMALS = ("dog", "cat", "horse")
PLACES = ("beach", "street")
ONE_SCENE = 8  # pictures; the first one judges

FEATURE_SHAPES = {"grid": GRID_SHAPES["mixed9"], "pooled": GRID_SHAPES["mixed9"][1:]}


def encoder(kind="pooled", weights="aa"):
    return EncoderIdentity("InceptionV3", "tensorflow", weights * 32, "imagenet", 299, "box", "float32", kind, "mixed9")


def record(name, feature=None, captions=("a dog runs",), uris=None, kind="pooled"):
    """A FeatureRecord whose sha256 is that of its name; a feature of zeros where none is given."""
    return FeatureRecord(
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        uris=uris or (f"/pictures/{name}.jpg",),
        width=4,
        height=3,
        feature=np.zeros(FEATURE_SHAPES[kind], np.float16) if feature is None else feature,
        captions=captions,
    )


def write_features(directory, shards, kind="pooled", weights="aa"):
    """Lists of FeatureRecords -> FeatureSet of one shard a list, written as `captionbeam extract` writes it."""
    entries = []
    for index, records in enumerate(shards):
        name = f"features-0001-{index:05d}-of-{len(shards):05d}.tfrecord"
        with tf.io.TFRecordWriter(str(directory / name)) as writer:
            for one in records:
                writer.write(serialize(one))
        data = (directory / name).read_bytes()
        captions = sum(len(one.captions) for one in records)
        entries.append(Shard(name, len(records), captions, len(data), hashlib.sha256(data).hexdigest()))
    features = FeatureSet(str(directory), encoder(kind, weights), tuple(entries))
    (directory / "manifest.json").write_bytes(to_document(features.to_json()))
    return features


def scenes(kind):
    """48 pictures of 6 scenes: every word of a scene lights up four channels of its own, above a little noise."""
    generator = np.random.default_rng(0)
    shape = FEATURE_SHAPES[kind]
    directions = {word: np.zeros(shape) for word in ANIMALS + PLACES}
    for number, direction in enumerate(directions.values()):
        direction[..., 4 * number : 4 * number + 4] = 3.0
    for animal, place in product(ANIMALS, PLACES):
        for number in range(ONE_SCENE):
            feature = directions[animal] + directions[place] + 0.01 * generator.random(size=shape)
            captions = (f"a {animal} runs on the {place}", f"a {animal} runs on the {place} .")
            yield record(f"{animal}-{place}-{number}", feature.astype(np.float16), captions, kind=kind)


def write_scenes(directory, kind):
    """Feature set of three shards, and lists of names beside it: one picture of each scene judges, the rest train."""
    pictures = list(scenes(kind))
    features = write_features(directory, [pictures[0::3], pictures[1::3], pictures[2::3]], kind)
    names = [Path(picture.uris[0]).name for picture in pictures]
    (directory / "dev.txt").write_text("".join(f"{name}\n" for name in names if name.endswith("-0.jpg")))
    (directory / "train.txt").write_text("".join(f"{name}\n" for name in names if not name.endswith("-0.jpg")))
    return features


@pytest.fixture(scope="session", name="encoder")
def encoder_fixture():
    return encoder


@pytest.fixture(scope="session", name="record")
def record_fixture():
    return record


@pytest.fixture(scope="session", name="write_features")
def write_features_fixture():
    return write_features


@pytest.fixture(scope="session")
def pooled_features(tmp_path_factory):
    """FeatureSet of 48 pooled pictures, with train.txt and dev.txt beside it; never written to."""
    return write_scenes(tmp_path_factory.mktemp("pooled"), "pooled")


@pytest.fixture(scope="session")
def grid_features(tmp_path_factory):
    """The like with grids."""
    return write_scenes(tmp_path_factory.mktemp("grid"), "grid")


@pytest.fixture(scope="session")
def tiny_captioner(tmp_path_factory):
    """Function (words, kind, weights, ...) -> untrained captioner on disk, with weights large enough to be sure."""

    def make(
        words=("a", "dog", "cat", "hat", "on", "top", "of"),
        kind="pooled",
        weights="aa",
        max_words=8,
        end_bias=0.0,
        min_words=1,
        tail=(),
    ):
        path = str(tmp_path_factory.mktemp("captioner"))
        model_name = "attention" if kind == "grid" else "merge"
        config = ModelConfig(model_name, 4 + len(words), embedding_size=8, hidden_size=16, tail=tail)
        model = build_model(config, FEATURE_SHAPES[kind])
        if tail:
            generator = np.random.default_rng(5)
            model.tail.set_arrays({name: generator.normal(size=one.shape) for name, one in model.tail.arrays.items()})
        kernel, bias = (variable.numpy() for variable in model.output_words.weights)
        bias[2] = end_bias
        model.output_words.set_weights([8 * kernel, bias])
        store.write_config(path, config, encoder(kind, weights), max_words, min_words, {})
        Vocabulary(tuple(words)).save(f"{path}/{VOCABULARY}")
        store.save_weights(model, path)
        return load_captioner(path)

    return make


@pytest.fixture(scope="session")
def untrained_head():
    """Function (cells [Q, C], words, rare, members) -> a word-presence head."""

    def make(cells, words, rare=None, members=2):
        hidden, generator = 4, np.random.default_rng(3)
        return PresenceHead(
            words=tuple(words),
            rare=rare or {},
            hidden_kernel=generator.normal(size=(cells[1], members * hidden)).astype(np.float32) / 16,
            hidden_bias=np.zeros(members * hidden, np.float32),
            output_kernel=generator.normal(size=(members, 2 * hidden, len(words))).astype(np.float32),
            output_bias=np.full((members, 1, len(words)), -1.0, np.float32),
            mean_inputs=np.full(cells, 0.25, np.float32),
        )

    return make


@pytest.fixture(scope="session")
def give_head(untrained_head):
    """Function (captioner, words, rare) -> the same captioner on disk with an untrained word-presence head."""

    def give(captioner, words=("dog", "cat", "beach", "t-shirt"), rare=None):
        head = untrained_head(inputs_of(captioner.model.seen_shape), words, rare)
        head.save(captioner.path, dict.fromkeys(words, 0.001))
        return load_captioner(captioner.path)

    return give


@pytest.fixture(scope="session")
def give_confidence():
    """Function (captioner with a head, bias) -> the same captioner on disk with a made-up confidence."""

    def give(captioner, bias=0.0, copies=()):
        head = captioner.presence
        channels = captioner.feature_shape[-1]
        fitted = Calibration((-1.0, 0.5, 0.5, -1.0), (0.5, 0.2, 0.2, 1.0), (0.5, 1.0, 1.0, 0.1), bias)
        familiarity = Familiarity(np.zeros(channels, np.float32), np.eye(2, channels, dtype=np.float32), 1.0, 10.0)
        confidence = Confidence(
            head.words,
            np.linspace(1.0, 3.0, len(head.words)).astype(np.float32),
            fingerprints(copies),
            np.zeros(0, np.uint64),
            familiarity,
            (fitted,),
            ((fitted, fitted),),
        )
        confidence.save(captioner.path, captioner.rated_id)
        return load_captioner(captioner.path)

    return give


@pytest.fixture(scope="session")
def give_judge(untrained_head):
    """Function (captioner with a head, signal, fitted) -> the same captioner on disk with a judge: it prefers more
    of a signal, and less of it in pictures that it was fitted to.
    """

    def give(captioner, signal="words", fitted=()):
        more, less = (tuple(sign * (name == signal) for name in SIGNALS) for sign in (1.0, -1.0))
        contents = frozenset(map(content_number, fitted))
        rarity = tuple(np.linspace(1.0, 3.0, len(captioner.presence.words)).tolist())
        words = captioner.vocabulary.words
        phrases = (*words, f"{words[0]} {words[1]}", f"{words[-1]} .")
        head = untrained_head(inputs_of(captioner.model.seen_shape), phrases, members=1)
        known = PhraseHead(head, np.linspace(1.0, 2.0, len(phrases)).astype(np.float32))
        Judge(more, (less, less), contents, rarity, known).save(captioner.path, judged_id(captioner))
        return load_captioner(captioner.path)

    return give


@pytest.fixture(scope="session")
def random_features():
    """Function (pictures, kind) -> float16 features, the same ones every time."""

    def draw(pictures, kind="pooled"):
        values = np.random.default_rng(7).normal(size=(pictures, *FEATURE_SHAPES[kind]))
        return values.astype(np.float16)

    return draw


@pytest.fixture
def decoder():
    """Function (captioner, ...) -> CaptionDecoder with these options and settings, closed after the test."""
    made = []
    names = [field.name for field in fields(DecodingOptions)]

    def make(captioner, **options):
        asked = DecodingOptions(**{name: options.pop(name) for name in names if name in options})
        made.append(CaptionDecoder(captioner, decoding_settings(captioner, asked), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def no_java(monkeypatch, tmp_path_factory):
    """A path without programs, so that METEOR, which takes long to start, is left out."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
