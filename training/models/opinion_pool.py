"""Pools the opinions of the word-presence head and of the decoder about a word into one probability.

The head predicts each word on its own, the decoder from the words before and from places of the picture; they err in
different pictures. Their log-odds are added (a logarithmic opinion pool; Genest and Zidek 1986, "Combining probability
distributions"), and a shift for each word keeps its total over pictures where the head, which is calibrated, has it.

Letters: B pictures, V words of the head.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

WEIGHT = 0.2  # of the decoder beside the head; the best of 0.1 to 0.4 on Flickr8k's dev pictures
_LEAST, _MOST = 1e-4, 0.98  # an expected count outside counts as this: it is no probability, and never sure


def pooled_scores(presence: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Pooled log-odds before the shift of each word, float64 [B, V].

    Args:
      presence: by the head, float32 [B, V].
      expected: counts by the decoder, float32 [B, V].
    """
    head = logit(np.clip(presence.astype(np.float64), 1e-7, 1 - 1e-7))
    return head + WEIGHT * logit(np.clip(expected.astype(np.float64), _LEAST, _MOST))


def pooled(presence: np.ndarray, expected: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Pooled presence, a probability, float32 [B, V].

    Args:
      presence: by the head, float32 [B, V].
      expected: counts by the decoder, float32 [B, V].
      shift: of each word's log-odds, float32 [V].
    """
    return expit(pooled_scores(presence, expected) + shift).astype(np.float32)
