"""Weight files: found where the user or Keras has them, and loaded into a network."""

from __future__ import annotations

import os
import shutil
import socket
from typing import TYPE_CHECKING

from beam_pipeline.encoders.base import RANDOM, Architecture, EncoderSpec
from beam_pipeline.encoders.random_weights import set_random_weights
from beam_pipeline.runtime import storage
from beam_pipeline.runtime.surroundings import keras_home
from training.array_files import require_plain_hdf5
from training.errors import UserError
from training.scratch import scratch_directory

if TYPE_CHECKING:
    import keras

_HDF5 = b"\x89HDF\r\n\x1a\n"
_DOWNLOAD_SECONDS = 20  # without an answer


def find_weight_file(weights: str) -> str:
    """Path of a weight file as the user gave it -> absolute path.

    Raises:
      UserError: there is no such file, or it is not HDF5.
    """
    path = storage.absolute(weights)
    if not storage.is_file(path):
        raise UserError(f"--weights {weights}: no such file; give imagenet, random or the path of a weight file")
    with storage.open_file(path) as file:
        if file.read(len(_HDF5)) != _HDF5:
            raise UserError(
                f"--weights {weights}: not a Keras weight file (HDF5); if it is an int8 encoder, add "
                "--engine openvino --precision int8"
            )
    return path


def imagenet_weight_file(architecture: Architecture) -> str:
    """Path of Keras' own ImageNet weights of a network, downloaded on first use.

    Raises:
      UserError: they are not in Keras' cache and cannot be downloaded.
    """
    home = keras_home()
    cached = os.path.join(home, "models", architecture.imagenet_weights)
    if os.path.exists(cached):
        return cached
    import keras

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_SECONDS)  # urlretrieve has none: an unreachable host must not hang the job
    try:
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        if not os.access(home, os.W_OK):  # Keras would take a folder in /tmp, which anybody may make
            raise PermissionError(f"{home} cannot be written")
        keras.utils.get_file(
            architecture.imagenet_weights,
            architecture.imagenet_url,
            cache_dir=home,
            cache_subdir="models",
            file_hash=architecture.imagenet_md5,
        )
    except Exception as error:  # Keras raises a bare one when the download fails
        raise UserError(
            f"--weights imagenet: Keras could not download its weights ({_one_line(error)}); without a network, "
            f"put {architecture.imagenet_weights} into {os.path.dirname(cached)}, or give --weights PATH, or "
            "--weights random"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return cached


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def load_model(spec: EncoderSpec, architecture: Architecture, precision: str) -> keras.Model:
    """Loads the network of a spec, from preprocessed pixels float32 [n, 299, 299, 3] to the layer's grid [n, H, W, C].

    Args:
      spec: names the weights and the layer.
      architecture: the network.
      precision: that it computes in, "bfloat16" or "float32".

    Raises:
      UserError: the weights are another network's.
    """
    import keras

    model = architecture.build_with_precision(precision)
    if spec.identity.weights == RANDOM:
        set_random_weights(model, spec.weights_path)
    else:
        load_weights(model, spec.weights_path, architecture.name)
    return keras.Model(model.input, model.get_layer(spec.identity.layer).output)


def load_weights(model: keras.Model, path: str, name: str) -> None:
    """Gives a model the weights of a file, in Keras' present layout or that of Keras 2.

    Args:
      path: of the file, whatever its name, on any Beam file system.
      name: of the network, for the message.

    Raises:
      UserError: the weights are another model's, or more than arrays of numbers.
    """
    with storage.local_copy(path) as local, scratch_directory() as directory:
        # It may have come with the directory of a stranger. No array in it needs more room than the whole network.
        room = 4 * model.count_params()
        require_plain_hdf5(local, f"--weights {path}", "save the weights again with Keras' save_weights", room)
        try:
            model.load_weights(_link_named_by_layout(local, directory))
        except (ValueError, OSError, KeyError) as error:
            raise UserError(
                f"--weights {path}: not weights of {name} without its top ({_one_line(error)}); "
                "save them with include_top=False"
            ) from error


def _link_named_by_layout(path: str, directory: str) -> str:
    """Weight file -> a link to it in the directory, with the ending by which alone Keras tells its two layouts apart.

    People rename files.
    """
    import h5py

    with h5py.File(path) as file:
        ending = ".h5" if "layer_names" in file.attrs else ".weights.h5"
    link = os.path.join(directory, f"encoder{ending}")
    try:
        os.symlink(os.path.abspath(path), link)
    except OSError:  # not everybody may on Windows
        shutil.copyfile(path, link)
    return link
