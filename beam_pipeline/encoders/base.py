"""InceptionV3 as a feature extractor: uint8 pictures [B, 299, 299, 3] -> float16 features.

`resolve_encoder` runs once, where the job starts: it finds the weights and names the encoder's identity. Workers
call `load_encoder` on what it returned, once per process. B = ENCODER_BATCH, P = 64 grid positions, C = 2048 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.data.feature_set import EncoderIdentity

# One fixed shape for every batch, short ones padded: a picture's features then never depend on its neighbours.
ENCODER_BATCH = 16
STATISTICS_PICTURES = (
    48  # enough for stable batch-norm statistics of every channel (each sees at least 64 positions a picture)
)


class Encoder(Protocol):
    """What an engine must offer: a picture's features, whatever its neighbours and the number of threads."""

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 [n <= B, 299, 299, 3] -> float16 [n, 64, 2048] or [n, 2048]."""


@dataclass(frozen=True)
class EncoderSpec:
    """How a worker makes the encoder; picklable, a few strings.

    Attributes:
      weights_path: weight file, the statistics file of random weights, or a quantized graph; any Beam file system.
      identity: what the encoder must be.
    """

    weights_path: str
    identity: EncoderIdentity
