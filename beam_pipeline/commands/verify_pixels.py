"""Pictures that `verify` reads again, from files that may have changed since."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from beam_pipeline.commands.verify_findings import Findings
from beam_pipeline.images.decode import UnreadableImage
from beam_pipeline.images.decoder_pool import decoder_pool
from beam_pipeline.inputs.reader import PictureReader
from beam_pipeline.options.limits import DecodeLimits
from beam_pipeline.shards.encoding import READING_THREADS


def read_pixels(uris: Iterable[str], sha256: str, limits: DecodeLimits, findings: Findings) -> np.ndarray | None:
    """Files of a picture -> uint8 [1 + V, 299, 299, 3] of it and its V views, from the first that still contains it.

    None if no file does; that is counted in the findings.
    """
    reader = PictureReader()
    for uri in uris:
        try:
            image = decoder_pool(limits, READING_THREADS).decode(reader.read_unchanged(uri, sha256))
        except (OSError, UnreadableImage):
            continue
        return np.stack([image.pixels, *image.views])
    findings.gone += 1
    return None
