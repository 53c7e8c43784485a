"""Several captioner models asked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.models.caption_models import AttentionModel, MergeModel, Tensors
from training.models.layers import Noise, Silence

Memories = tuple[Tensors, ...]  # one of each model
States = tuple[Tensors, ...]  # likewise


class Ensemble:
    """Gives every next word the mean of the probabilities that its models give it; decodes as one model does.

    Args:
      models: of one vocabulary and one kind of features; see `training.models.caption_models`.
    """

    def __init__(self, models: Sequence[MergeModel | AttentionModel]):
        self.models = tuple(models)
        self.name = f"ensemble of {len(self.models)}"

    @property
    def variables(self) -> list[Any]:
        return [variable for model in self.models for variable in model.variables]

    def encode(self, features: tf.Tensor, noise: Noise | Silence) -> Memories:
        """float32 [B, ...] -> each model's memory."""
        return tuple(model.encode(features, noise) for model in self.models)

    def start(self, memory: Memories, captions: int) -> States:
        """Memories -> each model's state before the first word."""
        return tuple(model.start(one, captions) for model, one in zip(self.models, memory, strict=True))

    def step(self, memory: Memories, state: States, ids: tf.Tensor) -> tuple[Tensors, States]:
        """Ids [B, R] of the words just said -> (what each model draws the next word from, states)."""
        asked = zip(self.models, memory, state, strict=True)
        each = [model.step(its_memory, its_state, ids) for model, its_memory, its_state in asked]
        return tuple(drawn_from for drawn_from, _ in each), tuple(after for _, after in each)

    def logits(self, drawn_from: Tensors) -> tf.Tensor:
        """What each model draws from -> log-probabilities [..., V] of their mean."""
        each = [tf.nn.log_softmax(model.logits(one)) for model, one in zip(self.models, drawn_from, strict=True)]
        return tf.reduce_logsumexp(tf.stack(each), axis=0) - math.log(len(each))
