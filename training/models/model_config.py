"""What a model is built from, as plain numbers with bounds; needs neither Keras nor TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Size = Annotated[int, Meta(ge=1, le=1 << 24)]
Rate = Annotated[float, Meta(ge=0, lt=1)]


CONVOLUTION, CONCATENATE = "convolution", "concatenate"


@dataclass(frozen=True)
class Operation:
    """One operation of the encoder's tail; see `training.models.tail`.

    Attributes:
      kind: "convolution" (with bias and ReLU), "average_pool", "max_pool" or "concatenate" (of channels).
      inputs: operations whose outputs it takes, by number; 0 is the cached grid, 1 the first operation.
      size: height and width of its window.
      stride: of its window, both ways.
      padding: "same" or "valid".
      channels: that a convolution gives.
      name: of the encoder's layer that it ends; "" within one.
    """

    kind: Annotated[str, Meta(pattern="^(convolution|average_pool|max_pool|concatenate)$")]
    inputs: Annotated[tuple[Annotated[int, Meta(ge=0, le=999)], ...], Meta(min_length=1, max_length=16)]
    size: tuple[Annotated[int, Meta(ge=1, le=31)], Annotated[int, Meta(ge=1, le=31)]] = (1, 1)
    stride: Annotated[int, Meta(ge=1, le=8)] = 1
    padding: Annotated[str, Meta(pattern="^(same|valid)$")] = "same"
    channels: Annotated[int, Meta(ge=0, le=1 << 16)] = 0
    name: Annotated[str, Meta(max_length=100)] = ""


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
      tail: the encoder's last operations, which learn with the model; empty if the features are looked at as they are.
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
    tail: Annotated[tuple[Operation, ...], Meta(max_length=999)] = ()
    tail_precision: Annotated[str, Meta(pattern="^(float32|bfloat16)$")] = "float32"

    def least_bytes(self) -> int:
        """Bytes of weights that a model of these sizes has at least: those of its embedding, LSTM and last layer."""
        both = self.embedding_size + self.hidden_size
        return 4 * both * (self.vocabulary_size + 4 * self.hidden_size)
