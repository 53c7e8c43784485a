"""Draws a contact sheet: pictures in a grid with their captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_SIDE, _GAP, _LINES, _SIZE = 220, 16, 3, 15  # pixels, pixels, lines of caption, pixels of its letters
_PAPER, _INK, _WRONG = (250, 250, 248), (40, 40, 44), (176, 40, 30)


def draw_contact_sheet(pictures: Sequence[tuple[str, str, bool]], path: str, columns: int = 4) -> None:
    """Draws pictures with their captions in a grid and saves it as PNG.

    Args:
      pictures: (path of the image, caption, whether the caption is correct); wrong captions are red.
      path: file to write.
      columns: of the grid.
    """
    font = ImageFont.load_default(size=_SIZE)
    cell = _SIDE + _LINES * (_SIZE + 4) + _GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (_GAP + columns * (_SIDE + _GAP), _GAP + rows * cell), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption, correct) in enumerate(pictures):
        left, top = _GAP + number % columns * (_SIDE + _GAP), _GAP + number // columns * cell
        with Image.open(image) as opened:
            sheet.paste(opened.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), (left, top))
        lines = textwrap.wrap(caption, width=_SIDE * 2 // _SIZE)[:_LINES]
        draw.multiline_text((left, top + _SIDE + 6), "\n".join(lines), fill=_INK if correct else _WRONG, font=font)
    sheet.save(path)
