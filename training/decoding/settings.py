"""How captions are searched for: what a user asks for, with a captioner's own values in place of what is left open."""

from __future__ import annotations

from dataclasses import dataclass

from training.errors import UserError
from training.models.captioner import Captioner
from training.options import BEAM_WIDTH, GUIDANCE, JUDGED_BEAM_WIDTH, NO_JUDGE, DecodingOptions


@dataclass(frozen=True)
class DecodingSettings:
    """Everything that decides a captioner's captions beside the captioner itself; picklable.

    Attributes:
      beam_width: hypotheses that the beam search keeps.
      min_words: least number of words in a caption.
      guidance: weight of the word-presence head.
      judge: id of the judge that chooses among the hypotheses; None where the likeliest one is the caption.
    """

    beam_width: int
    min_words: int
    guidance: float
    judge: str | None = None


def decoding_settings(captioner: Captioner, asked: DecodingOptions) -> DecodingSettings:
    """Captioner and options -> settings to decode with.

    Raises:
      UserError: guidance was asked for and there is no word-presence head.
    """
    judge = captioner.judge.id if captioner.judge is not None and asked.judge != NO_JUDGE else None
    return DecodingSettings(
        asked.beam_width or (BEAM_WIDTH if judge is None else JUDGED_BEAM_WIDTH),
        asked.min_words or captioner.min_words,
        _guidance(captioner, asked.guidance),
        judge,
    )


def _guidance(captioner: Captioner, asked: float | None) -> float:
    if captioner.presence is not None:
        return GUIDANCE if asked is None else asked
    if asked:
        raise UserError(f"--guidance {asked:g}: {captioner.path} has no word-presence head to guide it; train it again")
    return 0.0
