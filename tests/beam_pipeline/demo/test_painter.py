from dataclasses import replace

import numpy as np
import pytest

from beam_pipeline.demo.painter import BACKGROUNDS, COLOURS, SHAPES, SIDE, draw_scene
from beam_pipeline.demo.scene import Scene

RED_STAR = Scene("a.jpg", "red", "star", 1, "large", "middle", "white", "plain")


def coloured_pixels(picture, colour):
    """Picture -> mask of the pixels nearer to this colour than to any other and the backgrounds; every third pixel."""
    palette = np.array([COLOURS[colour], *(other for name, other in COLOURS.items() if name != colour)])
    palette = np.concatenate([palette, list(BACKGROUNDS.values())])
    pixels = np.asarray(picture, float)[::3, ::3, None]  # (height / 3, width / 3, 1, 3)
    return ((pixels - palette) ** 2).sum(-1).argmin(-1) == 0


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_has_its_colour_and_lies_whole_inside_the_picture(colour, shape):
    for count in (1, 2, 3):
        for seed in range(2):
            scene = replace(RED_STAR, colour=colour, shape=shape, count=count)
            mask = coloured_pixels(draw_scene(scene, np.random.default_rng(seed)), colour)
            assert 0.05 < mask.mean() < 0.6
            assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()


@pytest.mark.parametrize(
    ("position", "where"),
    [("left", (-1, 0)), ("right", (1, 0)), ("top", (0, -1)), ("bottom", (0, 1)), ("middle", (0, 0))],
)
@pytest.mark.parametrize("size", ["small", "medium"])
def test_the_shape_stands_where_the_truth_says(position, where, size):
    scene = replace(RED_STAR, position=position, size=size)
    y, x = coloured_pixels(draw_scene(scene, np.random.default_rng(5)), "red").nonzero()
    off = (x.mean() * 3 / SIDE - 0.5, y.mean() * 3 / SIDE - 0.5)
    for offset, direction in zip(off, where, strict=True):
        assert offset * direction > 0.04 if direction else abs(offset) < 0.04


def test_larger_shapes_cover_more():
    areas = [
        coloured_pixels(draw_scene(replace(RED_STAR, size=size), np.random.default_rng(5)), "red").mean()
        for size in ("small", "medium", "large")
    ]
    assert areas[0] * 1.3 < areas[1]
    assert areas[1] * 1.3 < areas[2]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_picture_holds_as_many_separate_shapes_as_the_truth_says(count, shape):
    for seed in range(3):
        scene = replace(RED_STAR, shape=shape, count=count)
        mask = coloured_pixels(draw_scene(scene, np.random.default_rng(seed)), "red")
        assert islands(mask) == count


def islands(mask):
    """Mask -> number of connected areas of at least 1 % of the picture."""
    left = mask.copy()
    large = 0
    while left.any():
        y, x = np.argwhere(left)[0]
        area = np.zeros_like(left)
        area[y, x] = True
        while True:
            grown = area.copy()
            grown[1:] |= area[:-1]
            grown[:-1] |= area[1:]
            grown[:, 1:] |= area[:, :-1]
            grown[:, :-1] |= area[:, 1:]
            grown &= left
            if (grown == area).all():
                break
            area = grown
        large += area.mean() > 0.01
        left &= ~area
    return large
