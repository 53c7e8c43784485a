"""A small run of benchmarks/mutated_images.py: no damaged picture crashes or stalls its decoder."""

import hashlib
import importlib.util
import sys
import time
from pathlib import Path

import pytest

from beam_pipeline.images.decoder_pool import ImageDecoderPool
from beam_pipeline.options.limits import DecodeLimits


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[3] / "benchmarks" / "mutated_images.py"
    spec = importlib.util.spec_from_file_location("mutated_images", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_every_original_is_a_picture(benchmark):
    pool = ImageDecoderPool(DecodeLimits(), processes=1)
    outcomes = benchmark.decode_all(iter(benchmark.draw_originals().items()), pool, threads=1)
    pool.close()
    assert outcomes.counts == {"decoded": len(benchmark.draw_originals())}


def test_three_hundred_mutated_pictures_are_decoded_or_rejected(benchmark):
    pool = ImageDecoderPool(DecodeLimits(max_seconds=30), processes=2)
    mutated = list(benchmark.mutations(benchmark.draw_originals(), 300, seed=1))
    outcomes = benchmark.decode_all(iter(mutated), pool, threads=2)
    pool.close()
    assert outcomes.fatal == []
    assert sum(outcomes.counts.values()) == 300
    assert 30 < outcomes.counts["decoded"] < 270, "mutations do harm, but not always"


def test_a_seed_gives_the_same_mutations_in_every_second(benchmark):
    def digests(seed: int) -> list[tuple[str, str]]:
        mutated = benchmark.mutations(benchmark.draw_originals(), 300, seed)
        return [(name, hashlib.sha256(data).hexdigest()) for name, data in mutated]

    first = digests(1)
    time.sleep(1.1)  # some formats hold the second of their making
    assert digests(1) == first != digests(2)


def test_a_crash_is_reported(benchmark, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    pool = ImageDecoderPool(DecodeLimits(decoder="hostile_decoders:obey"), processes=1)
    outcomes = benchmark.decode_all(iter([("a", b"crash"), ("b", b"no image")]), pool, threads=1)
    pool.close()
    assert [(name, data) for name, _, data in outcomes.fatal] == [("a", b"crash")]
    assert outcomes.slowest_seconds > 0 and outcomes.slowest in ("a", "b")
