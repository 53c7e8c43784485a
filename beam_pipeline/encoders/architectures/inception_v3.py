"""InceptionV3 (Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam_pipeline.encoders.base import Architecture
from beam_pipeline.images.decode import INPUT_SIZE
from training.data.feature_set import GRID_SHAPES

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class InceptionV3(Architecture):
    """Keras' InceptionV3 up to one of its last blocks."""

    name = "InceptionV3"
    layers = tuple(GRID_SHAPES)
    imagenet_weights = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
    imagenet_url = f"https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/{imagenet_weights}"
    imagenet_md5 = "bcbd6486424b2319ff4ef7d526e38f63"

    def build(self) -> keras.Model:
        """Makes the network without its classifier, with fresh weights."""
        import keras

        shape = (INPUT_SIZE, INPUT_SIZE, 3)
        return keras.applications.InceptionV3(weights=None, include_top=False, input_shape=shape)

    def preprocess(self, pixels: tf.Tensor) -> tf.Tensor:
        """RGB uint8 [n, 299, 299, 3] -> float32 from -1 to 1, as InceptionV3 was trained."""
        import tensorflow as tf

        return tf.cast(pixels, tf.float32) / 127.5 - 1.0
