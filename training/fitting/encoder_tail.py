"""What of the encoder a captioner holds: which layer it looks at, and whether the blocks before that layer learn."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from training.data.feature_set import GRID_SHAPES, EncoderIdentity, FeatureSet
from training.documents import Damaged
from training.errors import UserError
from training.models.caption_models import CaptionModel
from training.models.captioner_files import read_config
from training.models.operations import Operation
from training.models.tail_file import parse_tail
from training.options import NO_TAIL, TAIL_LAYER, TrainOptions
from training.own_names import CONFIG, TAIL
from training.storage import exists, read_own

_EXTRACT = "run the same `captionbeam extract` command again, which makes it again"


@dataclass(frozen=True)
class EncoderTail:
    """The encoder's blocks between the cached layer and the one that a captioner looks at.

    Attributes:
      operations: of these blocks; empty if the captioner looks at the cached layer.
      arrays: their weights in the encoder, "kernel_N" and "bias_N" of the N-th.
      learns: whether they learn with the captioner.
    """

    operations: tuple[Operation, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    learns: bool = False

    def give_to(self, model: CaptionModel) -> None:
        """Gives a model that holds these blocks their weights, which learn with it or do not."""
        if model.tail:
            model.tail.set_arrays(self.arrays)
            model.tail.trainable = self.learns


def with_default_tail(options: TrainOptions, encoder: EncoderIdentity) -> TrainOptions:
    """Says which blocks learn where `options.tail` is None.

    A training that the output holds goes on as it began. In a new one the block that is looked at learns, but with the
    merge model, which is the classical baseline, none.

    Raises:
      UserError: a file in the output is damaged.
    """
    if options.tail is not None:
        return options
    if exists(posixpath.join(options.output, CONFIG)):
        return replace(options, tail=read_config(options.output).trained_with.get("tail", NO_TAIL))
    learns = options.model == "attention" and TAIL_LAYER in _layers_behind(encoder)
    return replace(options, tail=TAIL_LAYER if learns else NO_TAIL)


def looked_at(options: TrainOptions, encoder: EncoderIdentity) -> str:
    """Options of `with_default_tail` and the encoder of the features -> the layer that the captioner looks at.

    Raises:
      UserError: `options.tail` names a layer that does not lie behind the features.
    """
    behind = _layers_behind(encoder)
    if options.tail not in (NO_TAIL, *behind):
        if encoder.feature_kind != "grid":
            why = "these features are pooled; extract with --feature-kind grid"
        elif behind:
            why = f"these features are of {encoder.layer}; give {' or '.join(behind)}"
        else:
            why = f"no layer lies behind these features, of {encoder.layer}; extract with an earlier --layer"
        raise UserError(f"--tail {options.tail}: {why}, or leave the option out")
    if options.tail in behind:
        return options.tail
    return TAIL_LAYER if TAIL_LAYER in behind else encoder.layer


def load_tail(options: TrainOptions, features: FeatureSet) -> EncoderTail:
    """Options of `with_default_tail`, feature set -> the blocks between its features and the layer that is looked at.

    Raises:
      UserError: their weights are missing, damaged, or those of another feature set.
    """
    layer = looked_at(options, features.encoder)
    if layer == features.encoder.layer:
        return EncoderTail()
    path = posixpath.join(features.path, TAIL)
    try:
        data = read_own(path)
    except FileNotFoundError:
        old = "; if an earlier captionbeam made the int8 encoder, extract into another directory"
        raise UserError(
            f"{path}: is missing, and a captioner that looks at {layer} needs it; run the same `captionbeam extract` "
            f"command again, which adds it{old if features.encoder.precision == 'int8' else ''}"
        ) from None
    if features.tail_sha256 not in ("", hashlib.sha256(data).hexdigest()):
        raise Damaged(path, "changed since it was written", _EXTRACT)
    operations, arrays = parse_tail(data, path, _EXTRACT, features.encoder.feature_shape, layer)
    return EncoderTail(operations, arrays, options.tail != NO_TAIL)


def _layers_behind(encoder: EncoderIdentity) -> tuple[str, ...]:
    """The layers that lie behind an encoder's features; none behind pooled ones."""
    layers = tuple(GRID_SHAPES)
    if encoder.feature_kind != "grid" or encoder.layer not in layers:
        return ()
    return layers[layers.index(encoder.layer) + 1 :]
