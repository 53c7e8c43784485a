"""The options of `captionbeam extract`."""

from __future__ import annotations

from dataclasses import dataclass, field

from beam_pipeline.options.collection import IMAGES_HELP, IMAGES_METAVAR, CollectionOptions
from training.option_fields import natural, option


@dataclass(frozen=True)
class ExtractOptions(CollectionOptions):
    """Settings of `captionbeam extract`."""

    images: str = field(metadata=option(IMAGES_HELP, IMAGES_METAVAR))
    output: str = field(metadata=option("directory to write the feature set to", "FEATURES"))
    captions: str | None = field(
        default=None,
        metadata=option(
            "captions to store with the features: CSV with the columns image,caption, or lines of the form "
            "name.jpg#0<TAB>caption",
            "FILE",
        ),
    )
    weights: str = field(
        default="imagenet",
        metadata=option(
            "encoder weights; imagenet is downloaded by Keras; with --precision int8 also the int8_encoder.npz of "
            "another feature set",
            "imagenet|random|PATH",
            group="encoder",
        ),
    )
    feature_kind: str = field(
        default="grid",
        metadata=option(
            "grid: 8x8 feature vectors per picture; pooled: their mean", choices=("grid", "pooled"), group="encoder"
        ),
    )
    layer: str = field(
        default="mixed9",
        metadata=option(
            "block of InceptionV3 that gives the features; captions are better with mixed9 than with mixed10, the last",
            choices=("mixed9", "mixed10"),
            group="encoder",
        ),
    )
    precision: str = field(
        default="auto",
        metadata=option(
            "number format of the encoder's arithmetic; auto: bfloat16 where the processor supports it, else float32; "
            "int8 needs --engine openvino and the extra int8",
            choices=("auto", "bfloat16", "float32", "int8"),
            group="encoder",
        ),
    )
    engine: str = field(
        default="tensorflow",
        metadata=option(
            "library that runs the encoder; openvino needs the extra openvino and is faster in bfloat16",
            choices=("tensorflow", "openvino"),
            group="encoder",
        ),
    )
    augment: int = field(
        default=0,
        metadata=option(
            "mirrored or cropped views of each picture to add, for training; each takes as long as a picture",
            "N",
            natural,
            group="encoder",
        ),
    )
