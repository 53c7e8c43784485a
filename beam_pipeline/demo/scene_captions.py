"""Writes captions of a drawn scene as several people would: in different words, each leaving something out.

Every caption names colour and shape, always by the same words, since the demo checks these two. Size, number, position
and background appear in some captions only and have synonyms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # scenes.py describes with this file
    from beam_pipeline.demo.scene import Scene

_SIZES = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("", "", "", "medium sized"),
    "large": ("large", "large", "big", "big"),
}
_PLACES = {
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "near the top", "in the upper part"),
    "bottom": ("at the bottom", "near the bottom", "in the lower part"),
    "middle": ("in the middle", "in the center", "in the middle of the picture"),
}
_SEVERAL = {2: ("two", "two", "a pair of", "a couple of"), 3: ("three", "three", "a group of three", "three")}


def describe(scene: Scene, captions: int, rng: np.random.Generator) -> list[str]:
    """Scene -> `captions` different captions in the style of Flickr8k, with a space before the full stop."""
    written: list[str] = []
    while len(written) < captions:
        sentence = _SENTENCES[int(rng.integers(len(_SENTENCES)))](_Words(scene, rng))
        caption = f"{sentence[0].upper()}{sentence[1:]} ."
        if caption not in written:
            written.append(caption)
    return written


class _Words:
    """Phrases for one caption, drawn at random on each call."""

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self._scene = scene
        self._rng = rng
        self.colour = scene.colour
        self.several = scene.count > 1
        self.be = "are" if self.several else "is"
        self.shape = scene.shape + ("es" if scene.shape.endswith("s") else "s") if self.several else scene.shape

    def pick(self, *choices: str) -> str:
        return choices[int(self._rng.integers(len(choices)))]

    def things(self, sized: float = 0.6) -> str:
        """'a large red star' or 'two red stars', with the size in a share `sized` of the captions."""
        size = self.pick(*_SIZES[self._scene.size]) if self._rng.random() < sized else ""
        described = " ".join(filter(None, (size, self.colour, self.shape)))
        if self.several:
            return f"{self.pick(*_SEVERAL[self._scene.count])} {described}"
        return f"{'an' if described[0] in 'aeiou' else 'a'} {described}"

    def size(self) -> str:
        return self.pick(*_SIZES[self._scene.size]) or "not very big"

    def where(self) -> str:
        return self.pick("next to each other", "close together", "in the middle") if self.several else self.place()

    def place(self) -> str:
        return self.pick(*_PLACES[self._scene.position])

    def ground(self) -> str:
        """'on a dotted grey background', with the texture in some captions."""
        textured = self._scene.texture != "plain" and self._rng.random() < 0.4
        texture = f"{self._scene.texture} " if textured else ""
        surface = self.pick("background", "background", "surface", "wall" if self._rng.random() < 0.5 else "page")
        return f"{self.pick('on', 'on', 'against', 'in front of')} a {texture}{self._scene.background} {surface}"


_SENTENCES: tuple[Callable[[Any], str], ...] = (
    lambda words: f"{words.things()} {words.ground()}",
    lambda words: f"{words.things()} {words.ground()}",
    lambda words: f"{words.things(sized=0.9)} {words.where()}",
    lambda words: f"{words.things()} {words.where()} {words.ground()}",
    lambda words: f"there {words.be} {words.things()} {words.where()}",
    lambda words: f"there {words.be} {words.things()} {words.ground()}",
    lambda words: f"{words.pick('a picture of', 'a drawing of', 'an image with')} {words.things()}",
    lambda words: f"{words.things()} {words.be} {words.pick('drawn', 'shown', 'painted')} {words.ground()}",
    lambda words: f"the {words.shape} {words.ground()} {words.be} {words.colour}",
    lambda words: f"the {words.colour} {words.shape} {words.where()} {words.be} {words.size()}",
)
