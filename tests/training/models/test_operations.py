"""Operations of strangers: whatever a file says, a plain reason or a tail that can be computed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.model_config import ModelConfig
from training.models.operations import Operation, array_shapes, misfit, output_grids
from training.models.tail import Tail

CONV = Operation("convolution", (0,), (3, 3), channels=4)


def chain(*operations, **last):
    return (*operations, Operation(**{"kind": "concatenate", "inputs": (len(operations),), **last}))


def test_every_output_has_its_grid():
    operations = (
        Operation("convolution", (0,), (3, 3), stride=2, padding="valid", channels=5),
        Operation("max_pool", (0,), (3, 3), stride=2, padding="valid"),
        Operation("concatenate", (1, 2)),
        Operation("average_pool", (3,), (3, 3)),
        Operation("convolution", (4,), (1, 3), stride=3, channels=7),
    )
    wanted = [(17, 17, 6), (8, 8, 5), (8, 8, 6), (8, 8, 11), (8, 8, 11), (3, 3, 7)]
    assert output_grids(operations, (289, 6)) == wanted
    assert array_shapes(operations, (289, 6)) == {
        "kernel_1": (3, 3, 6, 5),
        "bias_1": (5,),
        "kernel_5": (1, 3, 11, 7),
        "bias_5": (7,),
    }
    config = ModelConfig("attention", 10, embedding_size=4, hidden_size=8, tail=operations)
    assert config.seen_shape((289, 6)) == (9, 7)
    assert config.least_bytes((289, 6)) == 4 * (12 * (10 + 32) + 270 + 5 + 231 + 7)


@pytest.mark.parametrize(
    ("operations", "fault"),
    [
        (chain(inputs=(1,)), r"operation 1 \(concatenate\): takes the output of operation 1, which comes later"),
        (chain(CONV, kind="max_pool", inputs=(0, 1)), r"operation 2 \(max_pool\): takes several inputs"),
        (chain(CONV, kind="convolution", inputs=(0, 1), channels=2), r"operation 2 .*takes several inputs"),
        (chain(Operation("max_pool", (0,), stride=2), inputs=(0, 1)), r"operation 2 .*joins grids of different sizes"),
        (chain(kind="average_pool", size=(9, 1)), r"operation 1 .*its window, 9x1, is larger than 8x8"),
        (chain(kind="convolution"), r"operation 1 .*channels: 0, not 1 to 8,192"),
        (chain(*[Operation("concatenate", (one,) * 16) for one in range(4)]), r"operation 3 .*channels: 24,576"),
        (
            tuple(Operation("convolution", (one,), channels=8000) for one in range(20)),
            "hold more than 8,388,608 numbers",
        ),
        (chain(CONV, inputs=(0,)), r"operation 1 \(convolution\): nothing takes its output"),
        (chain(kind="max_pool", size=(1, 3), padding="valid"), "the last grid is 8x6, not square"),
        (chain(kind="max_pool", stride=8), "the last grid is 1x1, not square or smaller than 2x2"),
    ],
)
def test_what_cannot_be_computed_is_said_in_plain_words(operations, fault):
    with pytest.raises(ValueError, match=fault):
        output_grids(operations, (64, 6))


def test_pooled_features_have_no_grid():
    with pytest.raises(ValueError, match="pooled"):
        output_grids((CONV,), (2048,))


def test_a_misfit_is_named():
    shapes = {"kernel_1": (1, 2), "bias_1": (2,)}
    assert misfit(shapes, shapes) is None
    assert misfit({"bias_1": (2,)}, shapes) == "kernel_1 is missing"
    assert misfit(shapes, {"bias_1": (2,)}) == "kernel_1 is not needed"
    assert misfit(shapes, {**shapes, "bias_1": (3,)}) == "bias_1 is [2], not [3]"


operations_of_strangers = st.lists(
    st.builds(
        Operation,
        kind=st.sampled_from(["convolution", "average_pool", "max_pool", "concatenate"]),
        inputs=st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple),
        size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        stride=st.integers(1, 3),
        padding=st.sampled_from(["same", "valid"]),
        channels=st.integers(0, 3),
    )
    | st.builds(Operation, kind=st.just("max_pool"), inputs=st.integers(0, 5).map(lambda one: (one,))),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(operations_of_strangers, st.sampled_from([(64, 2), (49, 1), (2,)]))
def test_a_list_of_operations_is_refused_or_builds(operations, feature_shape):
    try:
        (height, width, channels) = output_grids(operations, feature_shape)[-1]
    except ValueError:
        with pytest.raises(ValueError):
            Tail(operations, "float32").build((None, *feature_shape))
        return
    tail = Tail(operations, "float32")
    found = tail(np.ones([2, *feature_shape], np.float16))
    assert found.shape == (2, height * width, channels) and np.isfinite(found).all()
