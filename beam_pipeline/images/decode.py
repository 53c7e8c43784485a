"""Bytes of an image file -> upright RGB uint8 [299, 299, 3], or a named reason why not.

What a file's content says decides, never its name. A picture is shown as a viewer would show it: EXIF orientation
applied, colour profiles converted to sRGB, transparency on white, the first frame of an animation or page of a
document, 16-bit values scaled to 8 bits.
"""

from __future__ import annotations

import functools
import hashlib
import io
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError, features

from beam_pipeline.images.png_chunks import LARGEST_METADATA, without_metadata
from beam_pipeline.options.limits import DEFAULT_DECODE_LIMITS
from beam_pipeline.runtime.extras import how_to_install

INPUT_SIZE = 299  # pixels of a side that InceptionV3 was trained on
# A JPEG is decoded at the smallest of its DCT scales (1/1, 1/2, 1/4, 1/8) that still leaves twice the input size,
# so that the final resize still averages over source pixels: 12-megapixel photos then cost a fraction.
REDUCED_SIZE = 2 * INPUT_SIZE
RESIZE = f"pillow-bilinear-antialias, JPEG DCT scale >= {REDUCED_SIZE}"

# Raster formats whose decoders Pillow ships and maintains; PostScript and other interpreters stay out.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "ICO", "JPEG2000", "PPM", "TGA", "SUN")


AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

Box = tuple[float, float, float, float, bool]  # left, top, right, bottom as shares of the picture; whether mirrored
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0, False)
_SRGB = ImageCms.createProfile("sRGB")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second
_UPRIGHT = {  # EXIF orientation -> how a stored picture is turned to stand upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Augmented views are random crops with these shares of the area and aspect ratios, as much as keeps the picture
# recognisable by its caption (Szegedy et al. 2015, "Going Deeper with Convolutions", section 6, begin at 8 %).
VIEW_AREA = (0.45, 0.9)
VIEW_ASPECT = (3 / 4, 4 / 3)

PngImagePlugin.MAX_TEXT_CHUNK = LARGEST_METADATA  # counts for colour profiles too
Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` is the limit, and it counts what a reduced JPEG really takes


class UnreadableImage(Exception):
    """The bytes are not a picture that can be captioned; the message is the reason, for a person."""


@dataclass(frozen=True)
class DecodedImage:
    """An upright picture, squashed to the encoder's input.

    Attributes:
      pixels: RGB uint8 [299, 299, 3].
      width, height: pixels of the picture as a viewer shows it, before resizing.
      views: V augmented views of it to train on, RGB uint8 [V, 299, 299, 3].
      lacks_profile: whether its colour profile was left out because it is too large.
    """

    pixels: np.ndarray
    width: int
    height: int
    views: np.ndarray = field(default_factory=lambda: np.zeros([0, INPUT_SIZE, INPUT_SIZE, 3], np.uint8))
    lacks_profile: bool = False


def decode_image(
    data: bytes, max_megapixels: float = DEFAULT_DECODE_LIMITS.max_megapixels, views: int = 0
) -> DecodedImage:
    """Content of an image file -> upright picture in the encoder's size, with augmented views of it.

    Args:
      data: the whole file.
      max_megapixels: limit of pixels / 10**6 to decode; memory is about 20 bytes a pixel.
      views: number of augmented views: the first is the whole picture mirrored, the others are random crops, half of
        them mirrored. The file's content seeds the choice.

    Raises:
      UnreadableImage: not an image, truncated, of an unknown format or too large; the message says which.
    """
    if not data:
        raise UnreadableImage("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities in metadata; what stops us is raised
        try:
            content, lacks_profile = without_metadata(data)
            with _open(content) as image:
                decoded = _decode(image, max_megapixels, _boxes(data, views))
            return replace(decoded, lacks_profile=lacks_profile or decoded.lacks_profile)
        except UnidentifiedImageError as error:
            raise UnreadableImage(_not_an_image(data)) from error
        except MemoryError as error:
            raise UnreadableImage("does not fit in memory when decoded") from error
        except UnreadableImage:
            raise
        # Pillow's plugins report broken data with many exception types (SyntaxError, struct.error, zlib.error, ...).
        except Exception as error:
            raise UnreadableImage(_reason(error)) from error


def _open(data: bytes) -> Image.Image:
    """Header of a file -> image that is still to be loaded, of HEIC by pillow-heif if that is installed."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if _brand(data) not in HEIC_BRANDS:
            raise
    try:
        import pillow_heif
    except ImportError as error:
        raise UnreadableImage(f"HEIC image: its decoder is not installed; {how_to_install('heif')}") from error
    pillow_heif.register_heif_opener(thumbnails=False)
    return Image.open(io.BytesIO(data), formats=("HEIF",))


def _brand(data: bytes) -> bytes:
    """Content -> brand of an ISO media file, the container of HEIC and AVIF; b"" for any other file."""
    return data[8:12] if data[4:8] == b"ftyp" else b""


def _boxes(data: bytes, views: int) -> list[Box]:
    """Content -> the part of the picture that each augmented view shows.

    The first ones are the same for the same bytes, however many views are asked for.
    """
    if not views:
        return []
    generator = np.random.default_rng(list(hashlib.sha256(data).digest()))
    boxes = [(0.0, 0.0, 1.0, 1.0, True)]
    while len(boxes) < views:
        area, aspect = generator.uniform(*VIEW_AREA), np.exp(generator.uniform(*np.log(VIEW_ASPECT)))
        width, height = min(1.0, np.sqrt(area * aspect)), min(1.0, np.sqrt(area / aspect))
        left, top = generator.uniform(0, 1 - width), generator.uniform(0, 1 - height)
        boxes.append((left, top, left + width, top + height, bool(generator.random() < 0.5)))
    return boxes


def _decode(image: Image.Image, max_megapixels: float, boxes: list[Box]) -> DecodedImage:
    width, height = image.size
    if image.format in ("JPEG", "MPO"):
        image.draft("RGB", (REDUCED_SIZE, REDUCED_SIZE))  # keeps grey and CMYK as they are where it cannot convert
    megapixels = image.size[0] * image.size[1] / 1e6
    if megapixels > max_megapixels:
        raise UnreadableImage(
            f"{width}x{height} pixels are {megapixels:.0f} megapixels to decode, over the limit of {max_megapixels:g}; "
            "--max-megapixels raises it"
        )
    image.load()
    # Only now: a PNG is loaded to look for its orientation.
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_grey_to_8_bits(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    shown = [_input_in_srgb(image, profile, box) for box in (_WHOLE, *boxes)]
    pixels = np.stack([np.asarray(view, dtype=np.uint8) for view in shown])
    shown_size = (height, width) if orientation >= 5 else (width, height)
    return DecodedImage(pixels[0], *shown_size, pixels[1:], len(profile or b"") > LARGEST_METADATA)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever a broken EXIF block makes Pillow raise: the picture itself is whole
        return 1


def _input_in_srgb(image: Image.Image, profile: bytes | None, box: Box) -> Image.Image:
    """Part of an 8-bit image -> sRGB [299, 299]; a colour profile is applied after resizing, where it costs least."""
    usable = _to_srgb(profile, image.mode) if profile and len(profile) <= LARGEST_METADATA else None
    if usable is None:
        return _resize(to_rgb(image), box)
    mode, transform = usable
    small = _resize(image if mode == "CMYK" else to_rgb(image), box)
    return transform.apply(small.convert(mode))


def _resize(image: Image.Image, box: Box) -> Image.Image:
    left, top, right, bottom, mirrored = box
    width, height = image.size
    # One direction after the other: Pillow 13 resizes tall pictures vertically first, which rounds other values.
    small = image.resize(
        (INPUT_SIZE, height), Image.Resampling.BILINEAR, box=(left * width, 0, right * width, height)
    ).resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR, box=(0, top * height, INPUT_SIZE, bottom * height))
    return small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else small


@functools.lru_cache(maxsize=8)  # the photos of a collection share few profiles
def _to_srgb(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """ICC profile, mode of the image -> (mode that the profile is for, transform from it to sRGB).

    None if there is nothing to do or the profile is unusable.
    """
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = found.profile.xcolor_space.strip()
        if space == "RGB" and mode != "CMYK":
            if "sRGB" in (found.profile.profile_description or ""):
                return None
            source = "RGB"
        elif space == "GRAY" and mode in ("L", "LA", "1"):
            source = "L"
        elif space == mode == "CMYK":
            source = "CMYK"
        else:  # a profile that was left behind when somebody converted the pixels
            return None
        return source, ImageCms.buildTransform(found, _SRGB, source, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError):
        return None  # viewers show such a picture as if it had none


def to_rgb(image: Image.Image) -> Image.Image:
    """Image of any 8-bit mode -> RGB, transparency composited on white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Image of deep or float grey -> the same in 8 bits.

    Integers span what their bits can hold, mostly 0 to 65535; floats 0 to 1, unless their values say otherwise.
    """
    values = np.array(image, dtype=np.float32)  # (H, W)
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    top = float(np.nanmax(values, initial=0, where=np.isfinite(values)))
    if image.mode == "F":
        full_scale = next((scale for scale in (1.0, 255.0, 65535.0) if top <= scale), top)
    else:
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        full_scale = max(2.0 ** min(bits, 16) - 1, top)
    values *= 255 / full_scale
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        np.subtract(255, values, out=values)
    np.nan_to_num(values, copy=False, posinf=255, neginf=0)
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    return Image.fromarray(values.astype(np.uint8))


def _not_an_image(data: bytes) -> str:
    start = data[:64].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "not an image: a web page"
    if _brand(data) in AVIF_BRANDS and not features.check("avif"):
        return "AVIF image: this build of Pillow has no decoder for it"
    return "not an image of a known format, or its header is broken"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text or isinstance(error, EOFError):
        return f"truncated: {text}"
    return f"cannot be decoded: {text}"
