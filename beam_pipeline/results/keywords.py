"""A captioned picture -> the keywords that describe it."""

from __future__ import annotations

from beam_pipeline.captions.picture import CaptionedPicture
from beam_pipeline.words.terms import content_words, is_stop

# More words than this say nothing of a picture; few captioners know of so many that are likely.
MOST_KEYWORDS = 32


def keywords_of(picture: CaptionedPicture, least: float) -> tuple[str, ...]:
    """Captioned picture -> its content words with a presence of `least` or more, the likeliest first.

    Where the captioner knows no presence they are the content words of the caption, in its order.
    """
    evidence = picture.evidence or {}
    if "presence" not in evidence.get("kinds", ()):
        return tuple(dict.fromkeys(content_words(picture.caption)))[:MOST_KEYWORDS]
    likely = {word: known["presence"] for word, known in evidence["words"].items() if known["presence"] >= least}
    found = sorted((word for word in likely if not is_stop(word)), key=lambda word: (-likely[word], word))
    return tuple(found[:MOST_KEYWORDS])
