"""What a model is built from, as plain numbers with bounds; needs neither Keras nor TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

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

    def least_bytes(self) -> int:
        """Bytes of weights that a model of these sizes has at least: those of its embedding, LSTM and last layer."""
        both = self.embedding_size + self.hidden_size
        return 4 * both * (self.vocabulary_size + 4 * self.hidden_size)
