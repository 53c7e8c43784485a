import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from beam_pipeline.images import INPUT_SIZE, UnreadableImage, decode_image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def half_red_half_blue(size=(96, 64)) -> Image.Image:
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    return image


def test_a_picture_becomes_the_encoders_input():
    decoded = decode_image(encoded(noise((500, 375)), "PNG"))
    assert decoded.pixels.shape == (INPUT_SIZE, INPUT_SIZE, 3)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.width, decoded.height) == (500, 375)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_content_decides_the_format(kind):
    decoded = decode_image(encoded(Image.new("RGB", (64, 64), (200, 30, 30)), kind))
    assert np.abs(decoded.pixels.astype(int) - (200, 30, 30)).max() < 12


def test_a_cut_jpeg_is_rejected_and_never_half_grey():
    whole = encoded(noise((640, 480)), "JPEG")
    with pytest.raises(UnreadableImage, match="truncated"):
        decode_image(whole[: len(whole) * 6 // 10])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "not an image: a web page"),
        (b"hello", "not an image of a known format"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "HEIC"),
    ],
)
def test_what_is_no_image_says_so(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(data)


ORIENTED = {  # EXIF orientation -> how the stored picture must be turned to stand upright
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_270],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_90],
}


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_applied(orientation):
    stored = half_red_half_blue()
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = stored
    for turn in ORIENTED[orientation]:
        upright = upright.transpose(turn)
    by_tag = decode_image(encoded(stored, "JPEG", exif=exif, quality=95))
    by_hand = decode_image(encoded(upright, "PNG"))
    assert (by_tag.width, by_tag.height) == (by_hand.width, by_hand.height) == upright.size
    difference = np.abs(by_tag.pixels.astype(int) - by_hand.pixels)
    assert np.mean(difference) < 4  # JPEG loss, not another side up


def test_sixteen_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    decoded = decode_image(encoded(Image.fromarray(ramp), "PNG")).pixels
    assert decoded.min() < 8 and decoded.max() > 247
    assert abs(decoded.mean() - 127.5) < 2
    flat = decode_image(encoded(Image.fromarray(np.full((64, 64), 20000, np.uint16)), "PNG")).pixels
    assert np.abs(flat.astype(int) - 78).max() <= 1
    assert (flat[..., 0] == flat[..., 2]).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_composited_on_white(kind):
    glass = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert (decode_image(encoded(glass, kind, **({"lossless": True} if kind == "WEBP" else {}))).pixels == 255).all()


def test_palette_transparency_is_composited_on_white():
    image = Image.new("P", (64, 64), 0)
    image.putpalette([0, 0, 0] * 256)
    assert (decode_image(encoded(image, "PNG", transparency=0)).pixels == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_its_first_frame(kind):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    pixels = decode_image(data).pixels
    assert pixels.shape == (INPUT_SIZE, INPUT_SIZE, 3)
    assert pixels[..., 0].mean() > 240 and pixels[..., 1:].mean() < 15


def one_bit_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_pixel_bomb_is_rejected_with_its_size_and_the_option():
    with pytest.raises(UnreadableImage, match=r"20000x20000 pixels .* limit of 100; --max-megapixels raises it"):
        decode_image(one_bit_png(20000))


def test_the_pixel_limit_can_be_raised():
    with pytest.raises(UnreadableImage):
        decode_image(one_bit_png(1600), max_megapixels=1)
    assert decode_image(one_bit_png(1600), max_megapixels=3).width == 1600


def test_a_big_jpeg_is_decoded_reduced():
    scan = encoded(Image.new("L", (15000, 10000), 90), "JPEG")
    decoded = decode_image(scan)
    assert (decoded.width, decoded.height) == (15000, 10000)
    assert np.abs(decoded.pixels.astype(int) - 90).max() <= 2


def test_cmyk_becomes_rgb():
    red = decode_image(encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95)).pixels
    assert red[..., 0].mean() > 200 and red[..., 1:].mean() < 60
