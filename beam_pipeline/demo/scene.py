"""The truth about one drawn picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scene:
    """The truth about one drawn picture.

    Attributes:
      image: file name in `images/`.
      colour: a key of COLOURS.
      shape: one of SHAPES.
      count: 1 to 3 shapes.
      size: a key of SIZES; "medium" for several shapes.
      position: a key of POSITIONS; "middle" for several shapes and for a large one.
      background: a key of BACKGROUNDS.
      texture: one of TEXTURES, of the background.
    """

    image: str
    colour: str
    shape: str
    count: int
    size: str
    position: str
    background: str
    texture: str
