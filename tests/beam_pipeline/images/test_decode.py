import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from beam_pipeline.images.decode import INPUT_SIZE, UnreadableImage, decode_image


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


def test_a_tall_picture_is_resized_horizontally_first():
    tall = noise((310, 500))
    rows = [tall.crop((0, y, 310, y + 1)).resize((INPUT_SIZE, 1), Image.Resampling.BILINEAR) for y in range(500)]
    narrow = Image.fromarray(np.concatenate([np.asarray(row) for row in rows]))
    columns = [
        narrow.crop((x, 0, x + 1, 500)).resize((1, INPUT_SIZE), Image.Resampling.BILINEAR) for x in range(INPUT_SIZE)
    ]
    expected = np.concatenate([np.asarray(column) for column in columns], axis=1)
    np.testing.assert_array_equal(decode_image(encoded(tall, "PNG")).pixels, expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "ICO", "PPM", "TGA"])
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
        (b"GIF89a", "not an image of a known format"),
    ],
)
def test_what_is_no_image_says_so(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(data)


def test_nothing_of_another_file_is_told():
    with pytest.raises(UnreadableImage) as refused:
        decode_image(b"root:x:0:0:root:/root:/bin/bash\n")
    assert str(refused.value) == "not an image of a known format, or its header is broken"


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


def png(side: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def one_bit_png(side: int) -> bytes:
    return png(side, 1, 0, bytes((1 + side // 8) * side))


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


def solid(pixels: np.ndarray) -> tuple[int, int, int]:
    """The one colour of a picture."""
    assert (pixels == pixels[0, 0]).all()
    return tuple(pixels[0, 0].tolist())


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")


@needs_avif
def test_avif_is_decoded():
    pixels = decode_image(encoded(Image.new("RGB", (64, 64), (200, 30, 30)), "AVIF")).pixels
    assert np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


@needs_avif
def test_an_animated_avif_is_its_first_frame():
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    pixels = decode_image(encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])).pixels
    assert pixels[..., 0].mean() > 240 and pixels[..., 1:].mean() < 15


def heic(image: Image.Image, **options) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason='needs the extra "heif"')
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


def test_heic_is_decoded_and_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(heic(half_red_half_blue(), exif=exif.tobytes()))
    upright = decode_image(encoded(half_red_half_blue().transpose(Image.Transpose.ROTATE_270), "PNG"))
    assert (decoded.width, decoded.height) == (64, 96)
    assert np.abs(decoded.pixels.astype(int) - upright.pixels).mean() < 6


def test_heic_without_its_decoder_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImage, match=r"HEIC image: .*pip install '\.\[heif\]'"):
        decode_image(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40))


def test_a_broken_heic_is_rejected():
    data = heic(noise((64, 64)))
    with pytest.raises(UnreadableImage):
        decode_image(data[: len(data) // 2])


def tiff(size, data: bytes, bits: tuple[int, ...], photometric: int) -> bytes:
    """An uncompressed little-endian TIFF page of one strip; Pillow itself writes no deep colour."""
    width, height = size
    bits_at = 8 + 2 + 9 * 12 + 4
    data_at = bits_at + 2 * len(bits)
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, len(bits), bits_at if len(bits) > 2 else bits[0]),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, data_at),
        (277, 3, 1, len(bits)),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + struct.pack(f"<{len(bits)}H", *bits) + data


BLACK_IS_ZERO, WHITE_IS_ZERO, RGB, CMYK = 1, 0, 2, 5


@pytest.mark.parametrize(
    ("values", "bits", "photometric", "colour"),
    [
        ((20000,), (16,), BLACK_IS_ZERO, (78, 78, 78)),
        ((20000,), (16,), WHITE_IS_ZERO, (177, 177, 177)),
        ((51400, 7710, 25700), (16, 16, 16), RGB, (200, 30, 100)),
        ((0, 65535, 65535, 0), (16, 16, 16, 16), CMYK, (255, 0, 0)),
    ],
)
def test_sixteen_bit_tiffs_keep_their_colours(values, bits, photometric, colour):
    data = np.tile(np.array(values, "<u2"), 64 * 64).tobytes()
    found = solid(decode_image(tiff((64, 64), data, bits, photometric)).pixels)
    assert np.abs(np.subtract(found, colour)).max() <= 1


def test_twelve_bits_span_their_own_range():
    data = bytes.fromhex("800800") * (64 * 64 // 2)  # 2048, 2048
    assert solid(decode_image(tiff((64, 64), data, (12,), BLACK_IS_ZERO)).pixels) == (128, 128, 128)


@pytest.mark.parametrize(("value", "grey"), [(0.5, 128), (100.0, 100), (32767.5, 128), (np.nan, 0), (np.inf, 255)])
def test_float_grey_is_scaled_by_what_its_values_say(value, grey):
    image = Image.fromarray(np.full((64, 64), value, np.float32))
    assert solid(decode_image(encoded(image, "TIFF")).pixels) == (grey,) * 3


def test_integers_beyond_16_bits_are_not_clipped_to_white():
    ramp = np.linspace(0, 2**30, 64 * 64).astype(np.int32).reshape(64, 64)
    pixels = decode_image(encoded(Image.fromarray(ramp), "TIFF")).pixels
    assert abs(pixels.mean() - 127.5) < 2


def test_sixteen_bit_colour_png_is_scaled():
    row = b"\0" + struct.pack(">3H", 51400, 7710, 25700) * 64
    assert solid(decode_image(png(64, 16, 2, row * 64)).pixels) == (200, 30, 100)


def test_a_document_is_its_first_page():
    pages = [Image.new("RGB", (64, 64), colour) for colour in ((200, 30, 30), (0, 0, 255))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert solid(decode_image(data).pixels) == (200, 30, 30)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("RGBA", (64, 64), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (64, 64), (0, 128)), (127, 127, 127)),
        (Image.new("1", (64, 64), 1), (255, 255, 255)),
        (Image.new("P", (64, 64), 7), (7, 7, 7)),
    ],
)
def test_half_transparency_and_palettes_have_the_right_colour(image, colour):
    if image.mode == "P":
        image.putpalette([value for number in range(256) for value in (number,) * 3])
    assert solid(decode_image(encoded(image, "PNG")).pixels) == colour


def swapped_profile() -> bytes:
    """A colour profile that calls red what sRGB calls green, and the reverse."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    assert other != srgb
    for old, new in ((b"rXYZ", b"????"), (b"gXYZ", b"rXYZ"), (b"????", b"gXYZ")):
        other = other.replace(old, new, 1)
    return other


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_converted_to_srgb(mode):
    image = Image.new("RGB", (64, 64), (200, 30, 90))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    found = solid(decode_image(encoded(image, "PNG", icc_profile=swapped_profile())).pixels)
    assert np.abs(np.subtract(found, (30, 200, 90))).max() <= 2


def test_srgb_pictures_are_not_touched():
    image = noise((64, 64))
    tagged = encoded(image, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert np.array_equal(decode_image(tagged).pixels, decode_image(encoded(image, "PNG")).pixels)


@pytest.mark.parametrize(("mode", "profile"), [("RGB", b"no profile"), ("L", b""), ("CMYK", None)])
def test_an_unusable_profile_is_ignored(mode, profile):
    """Broken, empty, or of another colour space than the picture."""
    image = Image.new("RGB", (64, 64), (200, 30, 90)).convert(mode)
    profile = swapped_profile() if profile is None else profile
    tagged = decode_image(encoded(image, "TIFF", icc_profile=profile))
    assert np.array_equal(tagged.pixels, decode_image(encoded(image, "TIFF")).pixels)


def test_a_grey_profile_is_applied():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = (srgb[:16] + b"GRAY" + srgb[20:]).replace(b"rTRC", b"kTRC", 1)
    gamma = (2.4, 1.0)
    linear = grey.replace(*(struct.pack(">i", round(value * 65536)) for value in gamma))
    assert linear != grey
    data = encoded(Image.new("L", (64, 64), 100), "PNG", icc_profile=linear)
    # The curve is now the line (x + 0.055) / 1.055: 100 of 255 is 0.424 of the light, which sRGB writes as 174.
    assert np.abs(np.subtract(solid(decode_image(data).pixels), 174)).max() <= 1


def test_broken_exif_does_not_cost_the_picture():
    data = encoded(Image.new("RGB", (64, 64), (200, 30, 30)), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert solid(decode_image(data).pixels) == (200, 30, 30)


def test_a_bomb_is_refused_before_it_is_loaded():
    """Pillow loads a whole PNG to look for its orientation, so the limit has to come first."""
    cut = one_bit_png(20000)[:200]  # loading it would say "truncated"
    with pytest.raises(UnreadableImage, match="over the limit of 100"):
        decode_image(cut)


def test_further_views_are_the_mirrored_picture_and_crops_of_it():
    left_to_right = np.broadcast_to(np.linspace(0, 255, 400, dtype=np.uint8)[None, :, None], (300, 400, 3))
    data = encoded(Image.fromarray(np.ascontiguousarray(left_to_right)), "PNG")
    decoded = decode_image(data, views=12)
    assert decoded.views.shape == (12, INPUT_SIZE, INPUT_SIZE, 3)
    assert np.array_equal(decoded.pixels, decode_image(data).pixels)
    assert np.array_equal(decoded.views[0], decoded.pixels[:, ::-1])
    spans = decoded.views[1:, 0, -1, 0].astype(int) - decoded.views[1:, 0, 0, 0]  # below 0: mirrored
    assert np.abs(spans).min() > 255 * np.sqrt(0.45 * 3 / 4) - 10 and np.abs(spans).mean() < 240
    assert 0 < (spans < 0).sum() < 11
    assert np.array_equal(decode_image(data, views=3).views, decoded.views[:3])
    assert decode_image(data).views.shape == (0, INPUT_SIZE, INPUT_SIZE, 3)


def test_views_differ_from_picture_to_picture():
    first, second = (
        decode_image(encoded(half_red_half_blue(size), "PNG"), views=2).views[1] for size in ((96, 64),) * 2
    )
    other = decode_image(encoded(half_red_half_blue((97, 64)), "PNG"), views=2).views[1]
    assert np.array_equal(first, second) and not np.array_equal(first, other)
