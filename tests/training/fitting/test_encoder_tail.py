"""Which layer a captioner looks at, and where it gets the blocks of the encoder before that layer."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from training.data.feature_set import FeatureSet
from training.errors import UserError
from training.fitting.encoder_tail import EncoderTail, load_tail, looked_at, with_default_tail
from training.models.operations import Operation
from training.models.tail_file import pack_tail
from training.options import TrainOptions

OPERATIONS = tuple(Operation("convolution", (number,), channels=2, name=f"mixed{9 + number}") for number in range(2))
DATA = pack_tail(
    OPERATIONS,
    {
        "kernel_1": np.ones([1, 1, 1280, 2]),
        "bias_1": np.zeros(2),
        "kernel_2": np.ones([1, 1, 2, 2]),
        "bias_2": np.ones(2),
    },
)

DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def features(tmp_path, encoder):
    """Function (layer, kind, ...) -> a FeatureSet of that layer's features, with a tail of mixed8 in its directory."""
    (tmp_path / "encoder_tail.npz").write_bytes(DATA)

    def make(layer="mixed8", kind="grid", tail_sha256=DIGEST):
        return FeatureSet(str(tmp_path), replace(encoder(kind), layer=layer), (), tail_sha256=tail_sha256)

    return make


def options(tail="none", model="attention"):
    return TrainOptions("features", "output", model, tail=tail)


@pytest.mark.parametrize(
    ("layer", "tail", "looks_at"),
    [
        ("mixed7", "none", "mixed9"),
        ("mixed7", "mixed8", "mixed8"),
        ("mixed8", "mixed10", "mixed10"),
        ("mixed9", "none", "mixed9"),
        ("mixed9", "mixed10", "mixed10"),
        ("mixed10", "none", "mixed10"),
    ],
)
def test_a_captioner_looks_at_what_is_asked_for_else_at_mixed9(features, layer, tail, looks_at):
    assert looked_at(options(tail), features(layer).encoder) == looks_at


@pytest.mark.parametrize(
    ("tail", "model", "learns"),
    [
        ("mixed9", "attention", True),
        ("none", "attention", False),
        ("none", "merge", False),
        ("mixed9", "merge", True),
        (None, "attention", True),
        (None, "merge", False),
    ],
)
def test_what_learns(features, tail, model, learns):
    given = with_default_tail(options(tail, model), features().encoder)
    found = load_tail(given, features())
    assert found.operations == OPERATIONS[:1] and found.arrays.keys() == {"kernel_1", "bias_1"}
    assert found.learns is learns


@pytest.mark.parametrize(("layer", "kind"), [("mixed9", "grid"), ("mixed10", "grid"), ("mixed8", "pooled")])
def test_nothing_learns_where_nothing_lies_behind_the_features(features, layer, kind):
    assert with_default_tail(options(None), features(layer, kind).encoder).tail == "none"


def test_features_that_are_looked_at_as_they_are_need_no_file(features, tmp_path):
    (tmp_path / "encoder_tail.npz").unlink()
    for one in (features("mixed9"), features("mixed10"), features(kind="pooled")):
        assert load_tail(options(), one) == EncoderTail()


@pytest.mark.parametrize(
    ("layer", "kind", "tail", "told"),
    [
        ("mixed8", "pooled", "mixed9", "these features are pooled; extract with --feature-kind grid, or leave"),
        ("mixed9", "grid", "mixed9", "these features are of mixed9; give mixed10, or leave the option out"),
        ("mixed8", "grid", "mixed7", "these features are of mixed8; give mixed9 or mixed10, or leave"),
        ("mixed10", "grid", "mixed10", "no layer lies behind these features, of mixed10; extract with an earlier"),
        ("mixed8", "grid", "mixed11", "give mixed9 or mixed10, or leave"),
    ],
)
def test_a_layer_that_does_not_lie_behind_the_features_is_refused(features, layer, kind, tail, told):
    with pytest.raises(UserError, match=f"^--tail {tail}: .*{told}"):
        looked_at(options(tail), features(layer, kind).encoder)


def test_a_file_that_is_missing_or_another_one_is_told(features, tmp_path):
    (tmp_path / "encoder_tail.npz").write_bytes(DATA[:-1] + b"x")
    with pytest.raises(UserError, match=r"encoder_tail.npz: changed since it was written; run the same"):
        load_tail(options(), features())
    (tmp_path / "encoder_tail.npz").write_bytes(DATA[:-30])
    with pytest.raises(UserError, match=r"encoder_tail.npz: damaged .*; run the same"):
        load_tail(options(), features(tail_sha256=""))
    (tmp_path / "encoder_tail.npz").unlink()
    with pytest.raises(UserError, match=r"encoder_tail.npz: is missing, and a captioner that looks at mixed9 needs it"):
        load_tail(options(), features())
