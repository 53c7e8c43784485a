"""Endings of the names of image files. A name only says what is worth opening; the bytes decide what a file is."""

from __future__ import annotations

_SUFFIXES = """
    .jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .heic .heif .ico
    .jp2 .j2k .jpx .ppm .pgm .pbm .pnm .tga .ras
"""


IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
