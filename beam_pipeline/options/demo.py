"""The options of `captionbeam demo`."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.option_fields import option, positive, whole


@dataclass(frozen=True)
class DemoOptions:
    """Settings of `captionbeam demo`."""

    output: str = field(default="output/demo", metadata=option("directory to write everything to", "DIR"))
    pictures: int = field(default=600, metadata=option("number of scenes to draw", "N", positive))
    weights: str = field(
        default="auto",
        metadata=option(
            "encoder weights; auto: imagenet if it can be downloaded, else random", "auto|imagenet|random|PATH"
        ),
    )
    seed: int = field(default=0, metadata=option("random seed of the scenes and of the training", "N", whole))
