"""What a model is built from, as plain numbers with bounds; needs neither Keras nor TensorFlow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from training.models.operations import Operations, array_shapes, output_grids

Size = Annotated[int, Meta(ge=1, le=1 << 24)]
Rate = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build a model.

    Attributes:
      model: "attention" or "merge".
      vocabulary_size: V.
      embedding_size: E.
      hidden_size: H.
      heads: attention heads; divides H.
      feature_dropout, word_dropout, output_dropout: dropout rates of the projected picture, of the word embeddings and
        of the pre-logits.
      position_dropout: share of the grid's positions that the attention model does not see at all.
      standardize: whether every channel of the features gets mean 0 and variance 1 first.
      tail: the encoder's operations between the features and what the model looks at; empty if that is the features.
      tail_precision: that these compute in.
    """

    model: Annotated[str, Meta(pattern="^(attention|merge)$")]
    vocabulary_size: Size
    embedding_size: Size = 128
    hidden_size: Size = 512
    heads: Size = 8
    feature_dropout: Rate = 0.3
    word_dropout: Rate = 0.3
    output_dropout: Rate = 0.5
    position_dropout: Rate = 0.0
    standardize: bool = False
    tail: Operations = ()
    tail_precision: Annotated[str, Meta(pattern="^(float32|bfloat16)$")] = "float32"

    def seen_shape(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a cached feature, (P, C) or (C,) -> shape of what the model looks at.

        Raises:
          ValueError: the tail cannot be computed from such a feature.
        """
        if not self.tail:
            return feature_shape
        height, width, channels = output_grids(self.tail, feature_shape)[-1]
        return height * width, channels

    def least_bytes(self, feature_shape: tuple[int, ...]) -> int:
        """Bytes of weights that a model of these sizes has at least: its tail's, embedding's, LSTM's and last layer's.

        Raises:
          ValueError: the tail cannot be computed from features of this shape.
        """
        both = self.embedding_size + self.hidden_size
        tail = sum(map(math.prod, array_shapes(self.tail, feature_shape).values())) if self.tail else 0
        return 4 * (both * (self.vocabulary_size + 4 * self.hidden_size) + tail)
