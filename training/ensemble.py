"""Several captioner models asked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.layers import Noise, Silence
from training.models import AttentionModel, MergeModel, Tensors

Memories = tuple[Tensors, ...]


class Ensemble:
    """Gives every next word the mean of the probabilities that its models give it; decodes as one model does.

    Args:
      models: of one vocabulary and one kind of features; see `training.models`.
    """

    def __init__(self, models: Sequence[MergeModel | AttentionModel]):
        self.models = tuple(models)
        self.name = f"ensemble of {len(self.models)}"
        self._state_sizes: list[int] = []

    @property
    def variables(self) -> list[Any]:
        return [variable for model in self.models for variable in model.variables]

    def encode(self, features: tf.Tensor, noise: Noise | Silence) -> Memories:
        """float32 [B, ...] -> each model's memory."""
        return tuple(model.encode(features, noise) for model in self.models)

    def start(self, memory: Memories, captions: int) -> Tensors:
        """Memories -> the states of all models before the first word, one after another."""
        states = [model.start(one, captions) for model, one in zip(self.models, memory, strict=True)]
        self._state_sizes = [len(state) for state in states]
        return tuple(tensor for state in states for tensor in state)

    def step(self, memory: Memories, state: Tensors, ids: tf.Tensor) -> tuple[Tensors, Tensors]:
        """Ids [B, R] of the words just said -> (what each model draws the next word from, states)."""
        drawn_from: list[tf.Tensor] = []
        states: list[tf.Tensor] = []
        left = state
        for model, one, size in zip(self.models, memory, self._state_sizes, strict=True):
            mine, left = left[:size], left[size:]
            drawn, mine = model.step(one, mine, ids)
            drawn_from.append(drawn)
            states.extend(mine)
        return tuple(drawn_from), tuple(states)

    def logits(self, drawn_from: Tensors) -> tf.Tensor:
        """What each model draws from -> log-probabilities [..., V] of their mean."""
        each = [tf.nn.log_softmax(model.logits(one)) for model, one in zip(self.models, drawn_from, strict=True)]
        return tf.reduce_logsumexp(tf.stack(each), axis=0) - math.log(len(each))
