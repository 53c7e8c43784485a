import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from beam_pipeline.encoders.weights import find_weight_file, imagenet_weight_file, load_weights
from training.errors import UserError


def model(seed=0):
    initializer = keras.initializers.RandomNormal(seed=seed)
    return keras.Sequential([keras.Input([3]), keras.layers.Dense(2, kernel_initializer=initializer, name="only")])


@pytest.fixture(params=["present layout", "layout of Keras 2"])
def weights(request, tmp_path):
    """A weight file in either layout, and the kernel that it holds."""
    saved = model(seed=1)
    path = tmp_path / "saved.weights.h5"
    if request.param == "present layout":
        saved.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, saved)
    return path, np.asarray(saved.layers[0].kernel)


@pytest.mark.parametrize("name", ["weights.h5", "x.weights.h5", "inception.hdf5"])
def test_a_weight_file_may_have_any_name(weights, tmp_path, name):
    path, kernel = weights
    path.rename(tmp_path / name)
    loaded = model()
    load_weights(loaded, str(tmp_path / name), "InceptionV3")
    np.testing.assert_array_equal(loaded.layers[0].kernel, kernel)


def test_weights_of_another_model_are_one_line(weights, tmp_path):
    other = keras.Sequential([keras.Input([4]), keras.layers.Dense(5), keras.layers.Dense(6)])
    with pytest.raises(UserError, match="not weights of InceptionV3 without its top") as raised:
        load_weights(other, str(weights[0]), "InceptionV3")
    assert "\n" not in str(raised.value)


def test_compressed_weights_are_read_and_claims_of_more_memory_than_the_network_takes_are_refused(tmp_path):
    saved, path = keras.Sequential([keras.Input([99]), keras.layers.Dense(99, name="only")]), tmp_path / "x.weights.h5"
    saved.layers[0].kernel.assign(np.ones([99, 99]))
    saved.save_weights(path)
    with h5py.File(path, "a") as file:
        values = file["layers/dense/vars"]
        kernel = values["0"][:]
        del values["0"]
        values.create_dataset("0", data=kernel, compression="gzip")
        assert values["0"].id.get_storage_size() < kernel.nbytes / 2
    loaded = keras.Sequential([keras.Input([99]), keras.layers.Dense(99, name="only")])
    load_weights(loaded, str(path), "InceptionV3")
    np.testing.assert_array_equal(loaded.layers[0].kernel, kernel)
    with h5py.File(path, "a") as file:
        file.create_dataset("more", shape=(100, 100), dtype="f4", chunks=(10, 10))
    with pytest.raises(UserError, match="'more' is larger in memory than in the file"):
        load_weights(loaded, str(path), "InceptionV3")


def test_weights_that_lead_to_another_file_are_refused(weights, tmp_path):
    path, _ = weights
    path.rename(tmp_path / "elsewhere.h5")
    with h5py.File(path, "w") as file, h5py.File(tmp_path / "elsewhere.h5") as other:
        file.attrs.update(other.attrs)
        for name in other:
            file[name] = h5py.ExternalLink("elsewhere.h5", f"/{name}")
    with pytest.raises(UserError, match=r"--weights .*: damaged, or no file of weights \(.* is a link\); save"):
        load_weights(model(), str(path), "InceptionV3")


def test_only_hdf5_is_a_weight_file(weights, tmp_path, monkeypatch):
    path, _ = weights
    monkeypatch.chdir(tmp_path)
    assert find_weight_file(path.name) == str(path)
    with pytest.raises(UserError, match=r"--weights nowhere\.h5: no such file; give imagenet, random or the path"):
        find_weight_file("nowhere.h5")
    (tmp_path / "photo.jpg").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"--weights photo.jpg: not a Keras weight file \(HDF5\)"):
        find_weight_file("photo.jpg")


@pytest.fixture
def server():
    """A server of one file; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"weights")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/weights"
        server.shutdown()


def test_weights_of_keras_are_taken_from_its_cache_or_put_there(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cached = tmp_path / "keras" / "models" / "tiny_notop.h5"
    refused = f"could not download its weights .*Connection refused.*; .*tiny_notop.h5 into {cached.parent}"
    with pytest.raises(UserError, match=refused):
        imagenet_weight_file(tiny)
    tiny.imagenet_url = server
    assert imagenet_weight_file(tiny) == str(cached)
    assert cached.read_bytes() == b"weights"
    tiny.imagenet_url = "nowhere"
    assert imagenet_weight_file(tiny) == str(cached)


def test_a_home_that_is_none_is_named(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"could not download its weights .*Not a directory"):
        imagenet_weight_file(tiny)
