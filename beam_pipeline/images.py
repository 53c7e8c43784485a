"""Bytes of an image file -> upright RGB uint8 [299, 299, 3], or a named reason why not.

What a file's content says decides, never its name. A picture is shown as a viewer would show it: EXIF orientation
applied, transparency on white, the first frame of an animation, 16-bit values scaled to 8 bits.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

INPUT_SIZE = 299  # pixels of a side that InceptionV3 was trained on
# A JPEG is decoded at the smallest of its DCT scales (1/1, 1/2, 1/4, 1/8) that still leaves twice the input size,
# so that the final resize still averages over source pixels: 12-megapixel photos then cost a fraction.
REDUCED_SIZE = 2 * INPUT_SIZE
RESIZE = f"pillow-bilinear-antialias, JPEG DCT scale >= {REDUCED_SIZE}"
DEFAULT_MAX_MEGAPIXELS = 100

# Raster formats whose decoders Pillow ships and maintains; PostScript and other interpreters stay out.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA", "SUN")

_SUFFIXES = """
    .jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .dib .tif .tiff .avif .heic .heif .ico
    .jp2 .j2k .jpx .ppm .pgm .pbm .pnm .tga .ras
"""
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())

Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` is the limit, and it counts what a reduced JPEG really takes


class UnreadableImage(Exception):
    """The bytes are not a picture that can be captioned; the message is the reason, for a person."""


@dataclass(frozen=True)
class DecodedImage:
    """An upright picture, squashed to the encoder's input.

    Attributes:
      pixels: RGB uint8 [299, 299, 3].
      width, height: pixels of the picture as a viewer shows it, before resizing.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode_image(data: bytes, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> DecodedImage:
    """File content -> DecodedImage.

    Args:
      data: the whole file.
      max_megapixels: pixels / 10**6 that may be decoded at most; bounds memory at about 16 bytes a pixel.

    Raises:
      UnreadableImage: not an image, cut, of an unknown kind or too large; says which.
    """
    if not data:
        raise UnreadableImage("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities in metadata; what stops us is raised
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _decode(image, max_megapixels)
        except UnidentifiedImageError as error:
            raise UnreadableImage(_not_an_image(data)) from error
        except MemoryError as error:
            raise UnreadableImage("does not fit in memory when decoded") from error
        except UnreadableImage:
            raise
        # Pillow's plugins report broken data with many exception types (SyntaxError, struct.error, zlib.error, ...).
        except Exception as error:
            raise UnreadableImage(_reason(error)) from error


def _decode(image: Image.Image, max_megapixels: float) -> DecodedImage:
    width, height = image.size
    swapped = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 exchange the sides
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (REDUCED_SIZE, REDUCED_SIZE))  # keeps grey and CMYK as they are where it cannot convert
    megapixels = image.size[0] * image.size[1] / 1e6
    if megapixels > max_megapixels:
        raise UnreadableImage(
            f"{width}x{height} pixels are {megapixels:.0f} megapixels to decode, over the limit of {max_megapixels:g}; "
            "--max-megapixels raises it"
        )
    image.load()
    upright = ImageOps.exif_transpose(image)
    rgb = to_rgb(upright)
    pixels = np.asarray(rgb.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR), dtype=np.uint8)
    return DecodedImage(pixels, *((height, width) if swapped else (width, height)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB of 8 bits: deep grey scaled, transparency composited on white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_grey_to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey spans 0..65535; float grey spans 0..1 unless its values say otherwise."""
    values = np.asarray(image).astype(np.float32)  # (H, W)
    full_scale = 65535.0
    if image.mode == "F":
        full_scale = next((scale for scale in (1.0, 255.0) if np.nanmax(values) <= scale), full_scale)
    scaled = np.nan_to_num(values * (255.0 / full_scale))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _not_an_image(data: bytes) -> str:
    start = data[:64].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "not an image: a web page"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "HEIC image: this build has no decoder for it"
    return "not an image of a known format, or its header is broken"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text or isinstance(error, EOFError):
        return f"truncated: {text}"
    return f"cannot be decoded: {text}"
