"""What an isolated process does to decode untrusted pictures; loaded there by `runtime.isolated_process`."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable

from PIL import Image

from beam_pipeline.images.decode import DecodedImage, UnreadableImage
from beam_pipeline.runtime.isolated_process import Handler, Refused

ABOUT = struct.Struct("<II?")  # width and height of a picture, and whether it lacks its colour profile


def start_decoder(decoder: str, max_megapixels: float, views: int) -> Handler:
    """Arguments of the process -> handler: a file -> ABOUT, pixels [299, 299, 3] and views [V, 299, 299, 3].

    Args:
      decoder: `module:function` of (bytes, max_megapixels, views) -> DecodedImage, which raises UnreadableImage.
      max_megapixels, views: passed on to it.
    """
    module, _, function = decoder.partition(":")
    decode: Callable[[bytes, float, int], DecodedImage] = getattr(importlib.import_module(module), function)
    Image.init()  # loads all of Pillow's decoders, which is no picture's fault

    def handle(data: bytes) -> tuple[bytes, bytes, bytes]:
        try:
            image = decode(data, max_megapixels, views)
        except UnreadableImage as error:
            raise Refused(str(error)) from error
        except MemoryError as error:
            raise Refused("does not fit in memory when decoded") from error
        about = ABOUT.pack(image.width, image.height, image.lacks_profile)
        return about, image.pixels.tobytes(), image.views.tobytes()

    return handle
