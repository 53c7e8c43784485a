"""Keywords of a captioned picture."""

from __future__ import annotations

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.terms import content_words, is_stop

MOST_KEYWORDS = 32  # of a picture; more would not describe it


def keywords_of(picture: CaptionedPicture, least: float) -> tuple[str, ...]:
    """Captioned picture -> its keywords: content words with a presence of at least `least`, the likeliest first.

    Without presence they are the content words of the caption, in their order.
    """
    evidence = picture.evidence or {}
    if "presence" not in evidence.get("kinds", ()):
        return tuple(dict.fromkeys(content_words(picture.caption)))[:MOST_KEYWORDS]
    presence = {word: values["presence"] for word, values in evidence["words"].items() if values["presence"] >= least}
    keywords = sorted((word for word in presence if not is_stop(word)), key=lambda word: (-presence[word], word))
    return tuple(keywords[:MOST_KEYWORDS])
