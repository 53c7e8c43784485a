"""What workers caption with: the decoder of a captioner, and the encoder that it was trained with.

A spec is made once, where the job starts, and travels to the workers; they load what it names once per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakValueDictionary

from beam_pipeline.captions.shard import DECODER_BATCH
from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.registry import resolve_identity
from beam_pipeline.runtime import storage
from training.decoding.decoder import CaptionDecoder
from training.decoding.guidance import effective_guidance
from training.models.captioner import Captioner, load_captioner
from training.models.captioner_files import member_paths

# The captioners that specs were made of in this process, by path, for as long as somebody holds them: a worker in the
# process that started the job need not load its captioner again.
_at_hand: WeakValueDictionary[str, Captioner] = WeakValueDictionary()


@dataclass(frozen=True)
class DecoderSpec:
    """How a worker makes the caption decoder; picklable."""

    captioner: str
    beam_width: int
    min_words: int
    guidance: float
    alternatives: int
    min_confidence: float | None = None

    def load(self) -> CaptionDecoder:
        captioner = _at_hand.get(self.captioner)
        if captioner is None:
            captioner = load_captioner(self.captioner)
        evidence = captioner.presence is not None  # without a head a picture's evidence is its caption
        return CaptionDecoder(
            captioner,
            self.beam_width,
            DECODER_BATCH,
            self.alternatives,
            self.min_words,
            self.guidance,
            evidence,
            self.min_confidence,
        )


def decoder_of_captioner(
    captioner: Captioner,
    path: str,
    beam_width: int,
    min_words: int | None,
    guidance: float | None,
    alternatives: int = 0,
) -> DecoderSpec:
    """How workers decode with a captioner: paths made absolute, and its own settings where None is asked for.

    Args:
      path: the captioner's directory, or several.
    """
    absolute = ",".join(map(storage.absolute, member_paths(path)))
    _at_hand[absolute] = captioner
    return DecoderSpec(
        absolute,
        beam_width,
        min_words or captioner.min_words,
        effective_guidance(captioner, guidance),
        alternatives,
    )


def encoder_of_captioner(captioner: Captioner, path: str, weights: str | None) -> EncoderSpec:
    """The encoder that a captioner was trained with.

    Args:
      path: the captioner's directory, or several.
      weights: where they lie elsewhere than then, else None.

    Raises:
      UserError: its weights or its engine cannot be had, or its weights are others.
    """
    missing = f"--captioner {path}: the statistics of its random encoder weights are missing; train it again"
    spec = resolve_identity(captioner.encoder, weights, storage.absolute(member_paths(path)[0]), missing)
    captioner.require_encoder(spec.identity)
    return spec
