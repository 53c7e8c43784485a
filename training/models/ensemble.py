"""Several captioner models asked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from training.models.caption_models import CaptionModel, Tensors
from training.models.layers import Dropout

Memories = tuple[Tensors, ...]  # one of each model
States = tuple[Tensors, ...]  # one of each model


class Ensemble:
    """Gives every next word the mean of the probabilities that its models give it; decodes as a single model does.

    Args:
      models: of one vocabulary and one kind of features; see `training.models.caption_models`.
    """

    def __init__(self, models: Sequence[CaptionModel]):
        self.models = tuple(models)
        self.name = f"ensemble of {len(self.models)}"

    @property
    def variables(self) -> list[Any]:
        """The variables of all models, in their order."""
        return [variable for model in self.models for variable in model.variables]

    def look(self, features: tf.Tensor) -> Tensors:
        """Features float [B, ...] -> what each model looks at."""
        return tuple(model.look(features) for model in self.models)

    def encode(self, seen: Tensors, dropout: Dropout) -> Memories:
        """What each model looks at -> each model's memory."""
        return tuple(model.encode(one, dropout) for model, one in zip(self.models, seen, strict=True))

    def start(self, memory: Memories, captions: int) -> States:
        """Memories -> each model's state before the first word, for `captions` hypotheses of each picture."""
        return tuple(model.start(one, captions) for model, one in zip(self.models, memory, strict=True))

    def step(self, memory: Memories, state: States, ids: tf.Tensor) -> tuple[Tensors, States]:
        """States and ids int32 [B, R] of the last words -> (each model's pre-logits, each model's state)."""
        parts = zip(self.models, memory, state, strict=True)
        steps = [model.step(its_memory, its_state, ids) for model, its_memory, its_state in parts]
        return tuple(pre_logits for pre_logits, _ in steps), tuple(after for _, after in steps)

    def logits(self, pre_logits: Tensors) -> tf.Tensor:
        """Each model's pre-logits -> log-probabilities float32 [..., V] of the mean of their probabilities."""
        each = [tf.nn.log_softmax(model.logits(one)) for model, one in zip(self.models, pre_logits, strict=True)]
        return tf.reduce_logsumexp(tf.stack(each), axis=0) - math.log(len(each))
