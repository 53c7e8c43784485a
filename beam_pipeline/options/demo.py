"""The options of `captionbeam demo`."""

from __future__ import annotations

from dataclasses import dataclass

from training.option_fields import folder, option, positive, whole


@dataclass(frozen=True)
class DemoOptions:
    """Settings of `captionbeam demo`."""

    output: str = option("directory to write everything to", "DIR", folder, default="output/demo")
    pictures: int = option("number of scenes to draw", "N", positive, default=600)
    weights: str = option(
        "encoder weights; auto: imagenet if it can be downloaded, else random",
        "auto|imagenet|random|PATH",
        default="auto",
    )
    seed: int = option("random seed of the scenes and of the training", "N", whole, default=0)
