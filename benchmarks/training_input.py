"""How much of a training step is spent waiting for its input, and what compressed features would change, in one run.

    python benchmarks/training_input.py --features DIR --train-list FILE --dev-list FILE [--steps 60] [--glove FILE]

Three loops take turns, so that a drifting machine slows all of them: steps on batches as `train` reads them, the same
steps on batches that are in memory already, and the reading alone. Then the same shards are read once as they are and
once compressed with zlib, as TFRecord files offer it. Compiling is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from training.data.dataset import scan, training_batches
from training.data.feature_set import FeatureSet, load_feature_set
from training.data.splits import make_split
from training.fitting.encoder_tail import load_tail, with_default_tail
from training.fitting.trainer import Trainer
from training.models.caption_models import ModelConfig, build_model
from training.options import TrainOptions, with_defaults
from training.text.vocabulary import build_vocabulary

_ROUNDS = 5
_SHARDS = 4  # that are compressed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, help="feature set with captions")
    parser.add_argument("--train-list", required=True)
    parser.add_argument("--dev-list", required=True)
    parser.add_argument("--steps", type=int, default=60, help="of each loop")
    arguments = parser.parse_args()
    features = load_feature_set(arguments.features)
    compare_steps(arguments, features)
    compare_compression(features)


def compare_steps(arguments: argparse.Namespace, features: FeatureSet) -> None:
    options = with_default_tail(with_defaults(TrainOptions(features=arguments.features, output="")), features.encoder)
    split = make_split(arguments.train_list, arguments.dev_list, features.records)
    vocabulary = build_vocabulary(scan(features, split).word_counts, options.min_count)
    shape = features.encoder.feature_shape
    tail = load_tail(options, features)
    model = build_model(ModelConfig("attention", len(vocabulary), tail=tail.operations), shape)
    tail.give_to(model)
    trainer = Trainer(model, shape, options, steps=1000)
    assert options.batch_size
    batches = training_batches(features, split, vocabulary, options.batch_size, options.max_words, seed=0, epoch=0)
    reading = iter(batches.repeat().prefetch(4))
    kept = list(islice(reading, 8))
    for batch in kept[:2]:
        trainer.step(*batch)  # compiles
    each = max(1, arguments.steps // _ROUNDS)
    read = memory = alone = 0.0
    for _ in range(_ROUNDS):
        read += seconds(trainer, islice(reading, each))
        memory += seconds(trainer, (kept[at % len(kept)] for at in range(each)))
        alone += seconds(None, islice(reading, each))
    steps = _ROUNDS * each
    print(f"{steps} steps of {options.batch_size} pictures, attention model, {len(features.shards)} shards")
    print(f"as train reads them {1000 * read / steps:.0f} ms a step, from memory {1000 * memory / steps:.0f} ms")
    print(f"waiting for input: {max(0.0, 1 - memory / read):.1%} of a step")
    print(f"reading alone: {1000 * alone / steps:.0f} ms for a batch, {alone / memory:.2f} of a step")


def seconds(trainer: Trainer | None, batches: Iterable) -> float:
    began = time.perf_counter()
    for batch in batches:
        if trainer:
            trainer.step(*batch).numpy()
    return time.perf_counter() - began


def compare_compression(features: FeatureSet) -> None:
    paths = features.shard_paths()[:_SHARDS]
    with tempfile.TemporaryDirectory(prefix="captionbeam-benchmark-") as work:
        compressed = [compress(path, Path(work) / f"{number}.tfrecord") for number, path in enumerate(paths)]
        plain = zipped = 0.0
        for _ in range(_ROUNDS):
            plain += drain(tf.data.TFRecordDataset(paths))
            zipped += drain(tf.data.TFRecordDataset(compressed, compression_type="ZLIB"))
        size, smaller = (sum(map(os.path.getsize, files)) for files in (paths, compressed))
    print(f"zlib: {smaller / size:.2f} of the bytes, {zipped / plain:.1f} times the time to read from the page cache")


def compress(path: str, target: Path) -> str:
    options = tf.io.TFRecordOptions(compression_type="ZLIB", compression_level=1)
    with tf.io.TFRecordWriter(str(target), options) as writer:
        for record in records(path):
            writer.write(record)
    return str(target)


def records(path: str) -> Iterator[bytes]:
    return (record.numpy() for record in tf.data.TFRecordDataset(path))


def drain(dataset: tf.data.Dataset) -> float:
    began = time.perf_counter()
    for _ in dataset:
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
