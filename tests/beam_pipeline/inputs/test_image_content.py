import io

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from beam_pipeline.inputs.image_content import content_digest


def picture(form, colour=(200, 10, 10), **settings):
    buffer = io.BytesIO()
    pages = [Image.new("RGB", (16, 8), colour), Image.new("RGB", (8, 16), colour)]
    more = {"save_all": True, "append_images": pages[1:]} if form == "TIFF" else {}
    pages[0].save(buffer, form, **more, **settings)
    return buffer.getvalue()


FORMS = ("JPEG", "PNG", "WEBP", "TIFF")


@pytest.mark.parametrize("form", FORMS)
def test_it_changes_with_the_image_alone(form):
    info = PngInfo()
    info.add_text("Title", "Anna")
    metadata = {
        "JPEG": {"comment": b"Anna", "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"},
        "PNG": {"pnginfo": info, "dpi": (72, 72)},
        "WEBP": {"xmp": b"<x/>"},
        "TIFF": {"description": "Anna", "dpi": (72, 72)},
    }
    plain = content_digest(picture(form))
    assert plain == content_digest(picture(form, **metadata[form]))
    assert plain != content_digest(picture(form, colour=(10, 200, 10)))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_or_changed_in_one_byte_raises_nothing(form):
    data = picture(form)
    for place in range(len(data)):
        content_digest(data[:place])
        content_digest(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\xff\xd8\xff", b"\xff\xd8\xff\xff", b"II*\0\x08\0\0\0", b"no picture"]
)
def test_what_is_not_known_has_none(data):
    assert content_digest(data) is None
