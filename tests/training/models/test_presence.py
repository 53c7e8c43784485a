import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from training.errors import UserError
from training.models.captioner import load_captioner
from training.models.presence import (
    PresenceGraph,
    first_layer,
    head_inputs,
    joined_heads,
    load_presence,
)
from training.own_names import PRESENCE, PRESENCE_TAIL, PRESENCE_WORDS


def test_the_head_sees_a_grid_in_cells():
    grid = np.zeros([1, 8, 8, 2], np.float16)
    grid[0, :2, 2:4, 0] = [[8.0, 4.0], [0.0, 0.0]]  # the second cell of the first row
    grid[0, 7, 7, 1] = -4.0  # in the last cell
    seen = head_inputs(tf.constant(grid.reshape(1, 64, 2))).numpy()
    expected = np.zeros([1, 16, 2])
    expected[0, 1, 0], expected[0, 15, 1] = np.log(4), -np.log(2)
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_pooled_features_are_one_cell():
    seen = head_inputs(tf.constant([[0.125, 0.0]], tf.float16)).numpy()
    np.testing.assert_allclose(seen, [[[np.log(2), 0]]], rtol=1e-6)


def test_one_cell_is_enough_for_what_is_small():
    """What the first layer finds in a single cell reaches the words undiluted."""
    cells = np.zeros([1, 16, 1], np.float32)
    cells[0, 3] = 8.0
    mean, maximum = first_layer(tf.constant(cells), tf.constant([[1.0, -1.0]]), tf.constant([0.0, 1.0]))
    np.testing.assert_allclose(mean, [[0.5, 15 / 16]])
    np.testing.assert_allclose(maximum, [[8.0, 1.0]])


@pytest.mark.parametrize("kind", ["pooled", "grid"])
def test_in_a_graph_it_says_what_it_says_in_numpy(tiny_captioner, give_head, random_features, kind):
    head = give_head(tiny_captioner(kind=kind)).presence
    features = np.abs(random_features(3, kind))
    presence, grounding = PresenceGraph(head)(tf.constant(features))
    inputs = head_inputs(tf.constant(features)).numpy()
    expected, of_mean = head.presence(inputs), head.presence(head.mean_inputs[None])
    np.testing.assert_allclose(presence, expected, rtol=1e-4)
    np.testing.assert_allclose(grounding, np.log(expected / of_mean), atol=1e-4)
    assert expected.min() > 0 and expected.max() < 1 and np.ptp(expected) > 0.1


def test_grounding_of_the_mean_picture_is_nothing(tiny_captioner, give_head):
    head = give_head(tiny_captioner()).presence
    picture = np.expm1(head.mean_inputs[0]) / 8
    _, grounding = PresenceGraph(head)(tf.constant(picture[None]))
    np.testing.assert_allclose(grounding, np.zeros([1, 4]), atol=1e-4)


def test_a_saved_head_comes_back_in_half_precision(tiny_captioner, give_head):
    captioner = give_head(tiny_captioner(), rare={"yak": 1e-5})
    again = load_presence(captioner.path)
    assert (again.words, again.rare) == (("dog", "cat", "beach", "t-shirt"), {"yak": 1e-5})
    assert again.fingerprint() == captioner.presence.fingerprint()
    with open(f"{captioner.path}/{PRESENCE_TAIL}") as file:
        assert json.load(file)["words"]["dog"] == 0.001


def test_the_head_is_part_of_the_captioner(tiny_captioner, give_head):
    bare = tiny_captioner()
    assert bare.presence is None and load_presence(bare.path) is None
    assert give_head(bare).model_id != bare.model_id
    assert give_head(bare).model_id == load_captioner(bare.path).model_id
    assert give_head(bare, rare={"yak": 1e-5}).model_id != give_head(bare).model_id


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (PRESENCE_WORDS, b"{", "presence.json: not JSON"),
        (PRESENCE_WORDS, b"[]", "presence.json: expected an object"),
        (PRESENCE_WORDS, b'{"schema_version": 9}', "schema version 9, which a newer captionbeam wrote"),
        (PRESENCE_WORDS, b'{"schema_version": 2, "words": ["dog"], "rare": {}}', "does not fit 1 word"),
        (PRESENCE, b"PK", r"presence.npz: damaged \(changed since it was written\)"),
        (PRESENCE, None, "presence.npz: damaged"),
    ],
)
def test_a_damaged_head_ends_in_one_line(tiny_captioner, give_head, name, content, said):
    path = give_head(tiny_captioner()).path
    tf.io.gfile.remove(f"{path}/{name}")
    if content is not None:
        with open(f"{path}/{name}", "wb") as file:
            file.write(content)
    with pytest.raises(UserError, match=said) as caught:
        load_captioner(path)
    assert "\n" not in str(caught.value)


def test_a_head_for_another_kind_of_features_is_refused(tiny_captioner, give_head):
    pooled, grid = give_head(tiny_captioner()), tiny_captioner(kind="grid")
    for name in (PRESENCE, PRESENCE_WORDS):
        tf.io.gfile.copy(f"{pooled.path}/{name}", f"{grid.path}/{name}")
    with pytest.raises(UserError, match=r"for features of another kind than config\.json names"):
        load_captioner(grid.path)


def test_an_ensemble_pools_by_the_mean_shift_where_all_have_one(tiny_captioner, give_head):
    one, two = (give_head(tiny_captioner()).presence for _ in range(2))
    with_shift = [replace(head, pool_shift=np.full(4, shift, np.float32)) for head, shift in ((one, 1.0), (two, 2.0))]
    assert joined_heads(with_shift).pool_shift.tolist() == [1.5] * 4
    assert joined_heads([with_shift[0], two]).pool_shift is None
    assert with_shift[0].fingerprint() != one.fingerprint()
