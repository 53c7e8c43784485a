"""What an encoder is, and what a network and an engine have to offer.

An encoder turns pictures, RGB uint8 [299, 299, 3], into float16 features: a grid [P, C], or its mean [C].
P = grid positions, C = channels: 64 and 2048 after the last block of InceptionV3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from training.data.feature_set import EncoderIdentity
from training.keras_settings import usual_keras

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# One fixed shape for every batch, short ones padded: a picture's features then never depend on its neighbours.
ENCODER_BATCH = 16
# Pictures of the collection to fit random weights or int8 to: enough for stable batch-norm statistics of every channel,
# which sees at least 64 positions a picture.
SAMPLE_PICTURES = 48

IMAGENET, RANDOM = "imagenet", "random"  # weights that are no file
COPY_AGAIN = "copy it again from the features or from a captioner that has it"  # a file that an encoder is made from
GRID, POOLED = "grid", "pooled"  # kinds of features
AUTO, BFLOAT16, FLOAT32, INT8 = "auto", "bfloat16", "float32", "int8"  # precisions

# Gives RGB uint8 [n, 299, 299, 3], some pictures of the collection.
SamplePictures = Callable[[], np.ndarray]


class Encoder(Protocol):
    """A loaded encoder. A picture's features depend neither on its neighbours nor on the number of threads."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n <= ENCODER_BATCH, 299, 299, 3] -> float16 [n, P, C] or [n, C]."""


@dataclass(frozen=True)
class EncoderRequest:
    """The encoder that a user asks for.

    Attributes:
      weights: "imagenet", "random" or the path of a weight file; with "int8" also that of an int8 encoder.
      feature_kind: "grid" or "pooled".
      layer: Keras' name of the layer that gives the features; one of those of the architecture.
      precision: "auto", "bfloat16", "float32" or "int8".
      engine: a key of `registry.ENGINES`.
      architecture: a key of `registry.ARCHITECTURES`.
    """

    weights: str
    feature_kind: str
    layer: str
    precision: str
    engine: str = "tensorflow"
    architecture: str = "InceptionV3"


@dataclass(frozen=True)
class EncoderSpec:
    """How a worker loads an encoder; small and picklable.

    Attributes:
      weights_path: weight file, the statistics file of random weights, or an int8 encoder; on any Beam file system.
      identity: what the encoder must be.
    """

    weights_path: str
    identity: EncoderIdentity


LoadEncoder = Callable[[EncoderSpec], Encoder]  # makes an encoder on a worker


class Architecture(ABC):
    """A network without its classifier, for pictures of 299 pixels a side.

    Attributes:
      name: as the identity of an encoder gives it.
      layers: Keras' names of the layers whose output may be a feature, each a grid [n, H, W, C].
      imagenet_weights: name of the file that Keras keeps its ImageNet weights in.
      imagenet_url, imagenet_md5: where Keras has that file, and its digest.
    """

    name: str
    layers: tuple[str, ...]
    imagenet_weights: str
    imagenet_url: str
    imagenet_md5: str

    @abstractmethod
    def build(self) -> keras.Model:
        """Makes the network, with fresh weights."""

    @abstractmethod
    def preprocess(self, pixels: tf.Tensor) -> tf.Tensor:
        """RGB uint8 [n, 299, 299, 3] -> float32 [n, 299, 299, 3], as the network was trained."""

    def build_with_precision(self, precision: str) -> keras.Model:
        """Makes the network with fresh weights, to compute in "bfloat16" or "float32"."""
        with usual_keras("mixed_bfloat16" if precision == BFLOAT16 else "float32"):
            return self.build()


class Engine(ABC):
    """A library that runs a network. Its module imports the library late: nobody needs one that is not asked for.

    Attributes:
      name: as the identity of an encoder gives it.
      precisions: those that it computes in.
    """

    name: str
    precisions: tuple[str, ...]

    def require(self) -> None:
        """Checks that the library is installed.

        Raises:
          UserError: it is not; says how to install it.
        """
        return

    @abstractmethod
    def load(self, spec: EncoderSpec, architecture: Architecture) -> Encoder:
        """Loads an encoder whose weights are known to be those of the spec.

        Raises:
          UserError: the library is not installed, or the weights are another network's.
          JobFailed: this machine cannot run it.
        """

    def quantize(
        self, spec: EncoderSpec, architecture: Architecture, sample: SamplePictures
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encoder in float32 -> graph and weights of an int8 encoder, uint8 [size] each, see `encoders.int8`.

        Only for engines whose precisions have "int8".

        Args:
          sample: pictures of the collection to measure activations on; not called before all else is there.

        Raises:
          UserError: a library is not installed.
        """
        raise NotImplementedError(f"engine {self.name} has no {INT8}")
