"""What workers caption with: the decoder of a captioner, and the encoder that it was trained with.

A spec is made once, where the job starts, and travels to the workers; they load what it names once per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from beam_pipeline.captions.shard import DECODER_BATCH
from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.registry import resolve_identity
from beam_pipeline.options.caption import CaptionOptions
from beam_pipeline.runtime import storage
from training.decoding.decoder import CaptionDecoder
from training.decoding.guidance import effective_guidance
from training.errors import UserError
from training.models.captioner import Captioner, load_captioner, no_confidence
from training.models.captioner_files import member_paths

# Captioners by path, for as long as somebody in this process holds them: a worker in the process that started the job
# need not load its captioner again.
_loaded: WeakValueDictionary[str, Captioner] = WeakValueDictionary()


@dataclass(frozen=True)
class DecoderSpec:
    """How a worker makes the caption decoder; picklable.

    Attributes:
      captioner: absolute path of the captioner, or several separated by commas: an ensemble.
      beam_width: hypotheses kept while decoding.
      min_words: least number of words in a caption.
      guidance: weight of the word-presence head.
      alternatives: captions beside the best one, fewer than `beam_width`.
      min_confidence: captions below it are flagged; None to flag none.
    """

    captioner: str
    beam_width: int
    min_words: int
    guidance: float
    alternatives: int
    min_confidence: float | None = None

    def load(self) -> CaptionDecoder:
        """Makes the decoder; loads the captioner unless this process has it.

        Raises:
          UserError: the captioner is missing or incomplete.
        """
        captioner = _loaded.get(self.captioner)
        if captioner is None:
            captioner = load_captioner(self.captioner)
        evidence = captioner.presence is not None  # without the head, the evidence of a picture is its caption
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


@dataclass(frozen=True)
class Captioning:
    """What the options of `caption` name: a loaded captioner, and how it captions."""

    captioner: Captioner
    decoder: DecoderSpec

    def made_with(self, source: str) -> dict[str, Any]:
        """Settings that all captions of an output directory share; source is "images" or "features"."""
        return {
            "model_id": self.captioner.model_id,
            "encoder_id": self.captioner.encoder.id,
            "beam_width": self.decoder.beam_width,
            "min_words": self.decoder.min_words,
            "guidance": self.decoder.guidance,
            "alternatives": self.decoder.alternatives,
            "confidence": self.captioner.confidence and self.captioner.confidence.id,
            "min_confidence": self.decoder.min_confidence,
            "source": source,
        }


def resolve_captioning(options: CaptionOptions) -> Captioning:
    """Options -> the captioner, loaded, and its decoder.

    Raises:
      UserError: the captioner is missing or incomplete, or gives no confidence where the options ask for it.
    """
    captioner = load_captioner(options.captioner)
    why_none = no_confidence(captioner)
    if why_none and options.min_confidence is not None:
        raise UserError(f"--min-confidence {options.min_confidence:g}: {why_none}")
    decoder = decoder_of_captioner(
        captioner,
        options.captioner,
        options.beam_width,
        options.min_words,
        options.guidance,
        options.alternatives,
        options.min_confidence,
    )
    return Captioning(captioner, decoder)


def decoder_of_captioner(
    captioner: Captioner,
    path: str,
    beam_width: int,
    min_words: int | None,
    guidance: float | None,
    alternatives: int = 0,
    min_confidence: float | None = None,
) -> DecoderSpec:
    """Captioner and settings -> DecoderSpec, with absolute paths and the captioner's own settings in place of None.

    Args:
      captioner: loaded; workers in this process use it as long as the caller holds it.
      path: directory of the captioner, or several separated by commas.
      beam_width, min_words, guidance, alternatives, min_confidence: as in DecoderSpec.
    """
    absolute = ",".join(map(storage.absolute, member_paths(path)))
    _loaded[absolute] = captioner
    return DecoderSpec(
        absolute,
        beam_width,
        min_words or captioner.min_words,
        effective_guidance(captioner, guidance),
        alternatives,
        min_confidence,
    )


def encoder_of_captioner(captioner: Captioner, path: str, weights: str | None) -> EncoderSpec:
    """Captioner -> EncoderSpec of the encoder that it was trained with.

    Args:
      captioner: loaded.
      path: directory of the captioner, or several separated by commas.
      weights: path of the encoder weights, where it is not the one in the captioner's settings; else None.

    Raises:
      UserError: the weights or the engine are not available, or the weights are others.
    """
    spec = resolve_identity(captioner.encoder, weights, storage.absolute(member_paths(path)[0]))
    captioner.require_encoder(spec.identity)
    return spec
