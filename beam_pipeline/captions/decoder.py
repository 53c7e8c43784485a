"""What workers caption with: the decoder of a captioner, and the encoder that it was trained with.

A spec is made once, where the job starts, and travels to the workers; they load what it names once per process.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from beam_pipeline.captions.shard import DECODER_BATCH
from beam_pipeline.encoders.base import EncoderSpec
from beam_pipeline.encoders.registry import resolve_identity
from beam_pipeline.options.caption import CaptionOptions, require_alternatives
from beam_pipeline.runtime import storage
from training.decoding.decoder import CaptionDecoder
from training.decoding.settings import DecodingSettings, decoding_settings
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
      settings: of the search for captions.
      alternatives: captions beside the best one, fewer than the beam is wide.
      min_confidence: captions below it are flagged; None to flag none.
    """

    captioner: str
    settings: DecodingSettings
    alternatives: int = 0
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
        return CaptionDecoder(captioner, self.settings, DECODER_BATCH, self.alternatives, evidence, self.min_confidence)


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
            **asdict(self.decoder.settings),
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
    settings = decoding_settings(captioner, options)
    require_alternatives(options.alternatives, settings.beam_width)
    decoder = decoder_of_captioner(captioner, options.captioner, settings)
    return Captioning(
        captioner, replace(decoder, alternatives=options.alternatives, min_confidence=options.min_confidence)
    )


def decoder_of_captioner(captioner: Captioner, path: str, settings: DecodingSettings) -> DecoderSpec:
    """Captioner and settings -> DecoderSpec, with absolute paths.

    Args:
      captioner: loaded; workers in this process use it as long as the caller holds it.
      path: directory of the captioner, or several separated by commas.
      settings: of the search for captions.
    """
    absolute = ",".join(map(storage.absolute, member_paths(path)))
    _loaded[absolute] = captioner
    return DecoderSpec(absolute, settings)


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
