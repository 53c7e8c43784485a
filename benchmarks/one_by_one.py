"""The caption script that people write: pictures are loaded, encoded and decoded one at a time.

    python benchmarks/one_by_one.py --weights PATH --captioner DIR PICTURE...

Other benchmarks compare `caption` with it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from batched_decoding import WordByWord

from training.models.captioner import load_captioner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="random or a path")
    parser.add_argument("--captioner", required=True, help="directory that train made")
    parser.add_argument("pictures", nargs="+")
    options = parser.parse_args()
    describe = describer(options.weights, options.captioner)
    for picture in options.pictures:
        print(describe(picture), flush=True)


def describer(weights: str, captioner: str) -> Callable[[str], str]:
    """-> function: path of a picture -> its caption."""
    loaded = load_captioner(captioner)
    model, decoder = keras_model(weights, loaded.encoder.layer), WordByWord(loaded)

    def describe(path: str) -> str:
        grid = model.predict(load_picture(path)[None], verbose=0).reshape(1, *loaded.feature_shape)
        return decoder.decode(grid.astype(np.float16))[0].caption

    return describe


def keras_model(weights: str, layer: str):
    """InceptionV3 up to the layer that the features come from, as Keras builds it."""
    import keras

    model = keras.applications.InceptionV3(weights=None, include_top=False, input_shape=(299, 299, 3))
    if weights != "random":
        model.load_weights(weights)
    return keras.Model(model.input, model.get_layer(layer).output)


def load_picture(path: str) -> np.ndarray:
    """Float32 [299, 299, 3] from -1 to 1, as Keras' documentation loads it."""
    import keras

    loaded = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(299, 299), interpolation="bilinear"))
    return keras.applications.inception_v3.preprocess_input(loaded)


if __name__ == "__main__":
    main()
