"""The file of a tail, as it may come from a stranger."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest

from training.documents import Damaged
from training.models.operations import Operation
from training.models.tail import Tail
from training.models.tail_file import pack_tail, parse_tail

OPERATIONS = (
    Operation("convolution", (0,), (3, 3), channels=2, name="first"),
    Operation("convolution", (1,), stride=2, padding="valid", channels=4, name="last"),
)
ARRAYS = {
    "kernel_1": np.ones([3, 3, 5, 2]),
    "bias_1": np.zeros(2),
    "kernel_2": np.ones([1, 1, 2, 4]),
    "bias_2": np.zeros(4),
}


def content(operations=OPERATIONS, dtype=np.float16, **changes):
    """A file with other operations or arrays; None leaves an array out."""
    text = operations if isinstance(operations, str) else json.dumps([asdict(one) for one in operations])
    arrays = {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}
    file = io.BytesIO()
    np.savez(file, operations=np.array(text), **{name: array.astype(dtype) for name, array in arrays.items()})
    return file.getvalue()


def parse(data, layer="last", feature_shape=(16, 5)):
    return parse_tail(data, "features/encoder_tail.npz", "mend it", feature_shape, layer)


def test_a_tail_is_read_up_to_a_layer():
    data = pack_tail(OPERATIONS, ARRAYS)
    assert data == content()
    operations, arrays = parse(data)
    assert operations == OPERATIONS and arrays.keys() == ARRAYS.keys()
    operations, arrays = parse(data, "first")
    assert operations == OPERATIONS[:1] and arrays.keys() == {"kernel_1", "bias_1"}
    tail = Tail(operations, "float32")
    tail.build((None, 16, 5))
    tail.set_arrays(arrays)
    assert tail(np.ones([1, 16, 5])).numpy().max() == 45


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "damaged"),
        (content()[:-30], "damaged"),
        (content(bias_1=np.array([np.nan, 0])), "a number in it is not finite"),
        (content("[]"), "bias_1 is not needed"),
        (content("7"), "expected a list, found 7"),
        (content('[{"kind": "softmax", "inputs": [0]}]'), "kind"),
        (content(json.dumps([asdict(OPERATIONS[0])] * 1000)), "999"),
        (content(bias_2=None), "bias_2 is missing"),
        (content(bias_3=np.zeros(1)), "bias_3 is not needed"),
        (content(kernel_1=np.ones([3, 3, 5, 3])), r"kernel_1 is \[3, 3, 5, 3\], not \[3, 3, 5, 2\]"),
        (content(dtype=np.float32), "is float32"),
        (content((OPERATIONS[0], Operation("max_pool", (2,)))), "comes later"),
        (content(OPERATIONS[:1], kernel_2=None, bias_2=None), "has no layer last"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(data, fault):
    with pytest.raises(Damaged, match=rf"^features/encoder_tail.npz: .*{fault}.*; mend it$"):
        parse(data)


def test_a_tail_of_other_features_does_not_fit():
    with pytest.raises(Damaged, match=r"kernel_1 is \[3, 3, 5, 2\], not \[3, 3, 6, 2\]"):
        parse(content(), feature_shape=(16, 6))
