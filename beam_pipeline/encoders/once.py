"""An encoder on a worker, loaded once in each process."""

from __future__ import annotations

from functools import partial

from beam_pipeline.encoders.base import Encoder, EncoderSpec, LoadEncoder
from beam_pipeline.runtime.once_per_process import OncePerProcess


def encoder_once(spec: EncoderSpec, load: LoadEncoder) -> OncePerProcess[Encoder]:
    """EncoderSpec and what loads it -> a picklable function that gives the encoder, loaded at its first call."""
    return OncePerProcess(partial(load, spec), spec.identity.id)
