"""Draws a scene of the demo's collection. Lengths are in pixels of a larger canvas, which is reduced at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:  # scenes.py draws with this file
    from beam_pipeline.demo.scene import Scene

COLOURS = {
    "red": (214, 40, 44),
    "green": (42, 150, 66),
    "blue": (36, 84, 206),
    "yellow": (246, 205, 34),
    "purple": (132, 52, 168),
    "orange": (244, 128, 24),
}
# Chosen to differ in more than their outline (a hole, rays, arms): an encoder with random weights must tell them apart,
# and it confuses a circle with a square, and a five-pointed star with a cross.
SHAPES = ("square", "ring", "triangle", "star", "cross")
SIZES = {
    "small": 0.55,
    "medium": 0.67,
    "large": 0.8,
}  # of the side; random weights lose what is smaller
POSITIONS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1), "middle": (0, 0)}  # (x, y) directions
BACKGROUNDS = {"white": (246, 245, 242), "grey": (176, 180, 186), "beige": (226, 211, 184)}
TEXTURES = ("plain", "shaded", "striped", "dotted")

SIDE = 300  # pixels; not the encoder's 299, so that the pictures are resized as photos are
_RING_BAND = 0.48  # of its radius
_STAR_RAYS = 8
_REACH = 1.22  # largest distance of a corner or shadow from the centre of its shape, in radii
_OVERSAMPLING = 2  # drawn at twice the size and averaged: smooth edges
_CANVAS = SIDE * _OVERSAMPLING

_Point = tuple[float, float]
_Colour = tuple[int, ...]


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Scene -> RGB picture of SIDE x SIDE pixels; `rng` decides what the scene leaves open (place, tilt, shade)."""
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
    if scene.count == 1:
        radius = SIZES[scene.size] * _CANVAS / 2
        free = middle - radius * _REACH  # how far the centre can move before the shape leaves the picture
        x, y = (middle + free * (0.85 * step + rng.uniform(-0.15, 0.15)) for step in POSITIONS[scene.position])
        return [(x, y)], radius
    # Several stand on a ring around the middle, turned by chance, too small to touch each other or the edge.
    radius = _CANVAS * {2: 0.2, 3: 0.18}[scene.count]
    turn = rng.uniform(0, 2 * math.pi)
    angles = [turn + 2 * math.pi * i / scene.count for i in range(scene.count)]
    return [(middle + middle / 2 * math.cos(angle), middle + middle / 2 * math.sin(angle)) for angle in angles], radius


def _background(scene: Scene, rng: np.random.Generator) -> Image.Image:
    base = np.array(BACKGROUNDS[scene.background]) + rng.uniform(-8, 8)
    pattern = _rgb(base - 14)
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
    """One shape with its shadow and a darker rim, tilted a little as things in photos are."""
    colour = np.array(COLOURS[scene.colour]) + rng.uniform(-12, 12, 3)
    shadow = np.array(BACKGROUNDS[scene.background]) * 0.8
    tilt = rng.uniform(-0.06, 0.06)
    pen = ImageDraw.Draw(canvas)
    rim_width = max(2, round(radius * 0.04))
    for shift, fill, rim in ((0.05 * radius, shadow, shadow), (0, colour, colour * 0.72)):
        x, y = centre[0] + shift, centre[1] + shift
        if scene.shape == "ring":
            band = round(radius * _RING_BAND)
            _circle(pen, x, y, radius, fill, band)
            _circle(pen, x, y, radius, rim, rim_width)
            _circle(pen, x, y, radius - band + rim_width, rim, rim_width)
        else:
            corners = [(x + radius * dx, y + radius * dy) for dx, dy in _outline(scene.shape, tilt)]
            pen.polygon(corners, fill=_rgb(fill), outline=_rgb(rim), width=rim_width)


def _circle(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: np.ndarray, width: int) -> None:
    """A line of this width just inside the circle."""
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=_rgb(colour), width=width)


def _outline(shape: str, tilt: float) -> list[_Point]:
    """Shape turned by `tilt` radians -> its corners, in units of the radius around (0, 0)."""
    if shape == "cross":
        arm, reach = 0.25, 1.05
        quarter = [(arm, -reach), (arm, -arm), (reach, -arm)]
        return [_turned(x, y, tilt + turn * math.pi / 2) for turn in range(4) for x, y in quarter]
    points = {"square": 4, "triangle": 3, "star": 2 * _STAR_RAYS}[shape]
    start = math.pi / 4 if shape == "square" else -math.pi / 2
    lengths = [0.5 if shape == "star" and i % 2 else 1.1 for i in range(points)]
    return [_turned(length, 0, start + tilt + 2 * math.pi * i / points) for i, length in enumerate(lengths)]


def _turned(x: float, y: float, angle: float) -> _Point:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def _rgb(colour: np.ndarray) -> _Colour:
    return tuple(np.clip(colour, 0, 255).astype(int).tolist())
