"""Draws one scene of the demo's collection. All lengths are in pixels of a canvas that is reduced at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:  # scenes.py draws with this file
    from beam_pipeline.scenes import Scene

COLOURS = {
    "red": (214, 40, 44),
    "green": (42, 150, 66),
    "blue": (36, 84, 206),
    "yellow": (246, 205, 34),
    "purple": (132, 52, 168),
    "orange": (244, 128, 24),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
SIZES = {"small": 0.36, "medium": 0.5, "large": 0.68}  # of the picture's side, for a shape that is alone
POSITIONS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1), "middle": (0, 0)}  # (x, y) directions
BACKGROUNDS = {"white": (246, 245, 242), "grey": (176, 180, 186), "black": (38, 40, 46), "beige": (226, 211, 184)}
TEXTURES = ("plain", "shaded", "striped", "dotted")

SIDE = 300  # pixels; not the encoder's 299, so that the pictures are resized as photos are
_OVERSAMPLING = 2  # drawn at twice the size and averaged: smooth edges
_CANVAS = SIDE * _OVERSAMPLING

_Point = tuple[float, float]
_Colour = tuple[int, ...]


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Scene -> RGB picture of SIDE x SIDE pixels; `rng` decides what the truth leaves open (place, tilt, shade)."""
    canvas = _background(scene, rng)
    centres, radius = _layout(scene, rng)
    for centre in centres:
        _draw_shape(canvas, scene, centre, radius * rng.uniform(0.92, 1.08), rng)
    small = canvas.reduce(_OVERSAMPLING)
    grain = rng.integers(-5, 6, (SIDE, SIDE, 1), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(small, np.int16) + grain, 0, 255).astype(np.uint8))


def _layout(scene: Scene, rng: np.random.Generator) -> tuple[list[_Point], float]:
    """Scene -> centres of its shapes and their radius."""
    middle = _CANVAS / 2
    radius = SIZES[scene.size] * _CANVAS / 2
    if scene.count == 1:
        free = middle - radius * 1.15  # how far the centre can move before the shape leaves the picture
        x, y = (middle + free * (0.85 * step + rng.uniform(-0.15, 0.15)) for step in POSITIONS[scene.position])
        return [(x, y)], radius
    # Several stand on a ring around the middle, turned by chance, and are small enough not to overlap.
    radius = min(radius * 0.75, _CANVAS * (0.23 if scene.count == 2 else 0.19))
    turn = rng.uniform(0, 2 * math.pi)
    angles = [turn + 2 * math.pi * i / scene.count for i in range(scene.count)]
    ring = _CANVAS * 0.255
    return [(middle + ring * math.cos(angle), middle + ring * math.sin(angle)) for angle in angles], radius


def _background(scene: Scene, rng: np.random.Generator) -> Image.Image:
    base = np.array(BACKGROUNDS[scene.background]) + rng.uniform(-8, 8)
    pattern = _rgb(base + (14 if base.mean() < 128 else -14))
    canvas = Image.new("RGB", (_CANVAS, _CANVAS), _rgb(base))
    pen = ImageDraw.Draw(canvas)
    if scene.texture == "shaded":
        dusk = Image.linear_gradient("L").resize((_CANVAS, _CANVAS))
        canvas.paste(_rgb(base * 0.78), mask=dusk)
    elif scene.texture == "striped":
        step = int(rng.integers(36, 64))
        for x in range(-_CANVAS, _CANVAS, step):
            pen.line((x, 0, x + _CANVAS, _CANVAS), fill=pattern, width=step // 3)
    elif scene.texture == "dotted":
        step = int(rng.integers(44, 72))
        radius = step // 6
        for x in range(step // 2, _CANVAS, step):
            for y in range(step // 2, _CANVAS, step):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=pattern)
    return canvas


def _draw_shape(canvas: Image.Image, scene: Scene, centre: _Point, radius: float, rng: np.random.Generator) -> None:
    """One filled shape with its shadow and a darker rim, tilted a little as things in photos are."""
    colour = np.array(COLOURS[scene.colour]) + rng.uniform(-12, 12, 3)
    corners = _outline(scene.shape, tilt=rng.uniform(-0.2, 0.2))
    outline = [(centre[0] + radius * x, centre[1] + radius * y) for x, y in corners]
    pen = ImageDraw.Draw(canvas)
    shadow = 0.05 * radius
    pen.polygon(
        [(x + shadow, y + shadow) for x, y in outline], fill=_rgb(np.array(BACKGROUNDS[scene.background]) * 0.8)
    )
    pen.polygon(outline, fill=_rgb(colour), outline=_rgb(colour * 0.72), width=max(2, round(radius * 0.04)))


def _outline(shape: str, tilt: float) -> list[_Point]:
    """Shape turned by `tilt` radians -> its corners, in units of the radius around (0, 0)."""
    if shape == "cross":
        arm = 0.3
        quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
        return [_turned(x, y, tilt + turn * math.pi / 2) for turn in range(4) for x, y in quarter]
    points = {"circle": 72, "square": 4, "triangle": 3, "star": 10}[shape]
    start = math.pi / 4 if shape == "square" else -math.pi / 2
    reach = {"square": 1.12, "triangle": 1.12}.get(shape, 1.0)  # brings their areas nearer to the circle's
    lengths = [0.42 if shape == "star" and i % 2 else reach for i in range(points)]
    return [_turned(length, 0, start + tilt + 2 * math.pi * i / points) for i, length in enumerate(lengths)]


def _turned(x: float, y: float, angle: float) -> _Point:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def _rgb(colour: np.ndarray) -> _Colour:
    return tuple(np.clip(colour, 0, 255).astype(int).tolist())
