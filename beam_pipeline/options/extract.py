"""The options of `captionbeam extract`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from beam_pipeline.options.collection import CollectionOptions, images_option
from training.option_fields import folder, natural, option

# The block whose features are extracted where none is named. Of a grid, the blocks after mixed8 are left to training.
DEFAULT_LAYERS = {"grid": "mixed8", "pooled": "mixed9"}

_encoder_option = partial(option, group="encoder")


@dataclass(frozen=True)
class ExtractOptions(CollectionOptions):
    """Settings of `captionbeam extract`."""

    images: str | tuple[str, ...] = images_option()
    output: str = option("directory to write the feature set to", "FEATURES", folder)
    captions: str | None = option(
        "captions to store with the features: CSV with the columns image,caption, or lines of the form "
        "name.jpg#0<TAB>caption",
        "FILE",
        default=None,
    )
    weights: str = _encoder_option(
        "encoder weights; imagenet is downloaded by Keras; with --precision int8 also the int8_encoder.npz of "
        "another feature set",
        "imagenet|random|PATH",
        default="imagenet",
    )
    feature_kind: str = _encoder_option(
        "grid: 8x8 feature vectors per picture, 17x17 with mixed7; pooled: their mean",
        choices=("grid", "pooled"),
        default="grid",
    )
    layer: str | None = _encoder_option(
        "block of InceptionV3 that gives the features; blocks after it can learn with a captioner, see train --tail",
        choices=("mixed7", "mixed8", "mixed9", "mixed10"),
        default=None,
        default_text="that of the features in FEATURES; else mixed8 for grid, mixed9 for pooled",
    )
    precision: str = _encoder_option(
        "number format of the encoder's arithmetic; auto: bfloat16 where the processor supports it, else float32; "
        "int8 needs --engine openvino and the extra int8",
        choices=("auto", "bfloat16", "float32", "int8"),
        default="auto",
    )
    engine: str = _encoder_option(
        "library that runs the encoder; openvino needs the extra openvino and is faster in bfloat16",
        choices=("tensorflow", "openvino"),
        default="tensorflow",
    )
    augment: int = _encoder_option(
        "mirrored or cropped views of each picture to add, for training; each takes as long as a picture",
        "N",
        natural,
        default=0,
    )
