"""What a process loads once."""

import gc
import pickle
from functools import partial

from beam_pipeline.runtime.once_per_process import OncePerProcess

loaded = []


class Model:
    def __init__(self, name):
        loaded.append(name)

    def __reduce__(self):
        raise TypeError("a model does not travel")


def test_two_that_take_turns_are_loaded_once_each():
    loaded.clear()
    encoder = OncePerProcess(partial(Model, "encoder"), "a")
    decoder = OncePerProcess(partial(Model, "decoder"), "b")
    for _ in range(3):
        assert isinstance(encoder(), Model) and isinstance(decoder(), Model)
        gc.collect()
    assert loaded == ["encoder", "decoder"]


def test_copies_of_one_process_share_what_is_loaded_and_take_none_of_it_elsewhere():
    loaded.clear()
    encoder = OncePerProcess(partial(Model, "encoder"), "a")
    copy = pickle.loads(pickle.dumps(encoder))
    assert encoder() is copy() and loaded == ["encoder"]
    pickle.dumps(encoder)
