"""What is kept of the captions that people wrote: those with a word, without the marks of decoders, in a number that a
training can hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from training.text.tokenizer import has_words

MAX_CAPTIONS = 100  # of an image; published collections have at most 81, and a batch is as wide as its widest image
MAX_CHARACTERS = 64 << 10  # of a caption

# What may be wrong with captions, as counts name it.
MARKED, WORDLESS, OVER_LIMIT = "captions_with_marks", "captions_without_words", "captions_over_limit"

_PART = "seq(?:uence)?|sent(?:ence)?|text|string|caption|token|turn"
_NAMES = (
    "start|end|begin|bos|eos|sos|boc|eoc|pad|padding|im_start|im_end|eot_id"
    rf"|(?:start|begin|end)[ _-]?(?:of[ _-]?)?(?:{_PART})|(?:{_PART})[ _-]?(?:start|begin|end)"
)
_UNKNOWN_NAMES = "unk|unknown|oov"
_BARE = r"\b(?:startseq|endseq|startofseq|endofseq|seqstart|seqend)\b"


def _forms(names: str, in_angles: str, in_brackets: str) -> str:
    """Names of marks, those that are marks only in <> and those only in [] -> pattern of their usual forms."""
    return (
        rf"<\s?[/\\|]*\s?(?:{names}|{in_angles})\s?[/|]*\s?>|\[/?(?:{names}|{in_brackets})\]"
        rf"|\b__?(?:{names})__?\b|##(?:{names})##"
    )


_FRAME = re.compile(f"{_forms(_NAMES, 's|go|stop', 'cls|sep')}|{_BARE}", re.IGNORECASE)
_UNKNOWN = re.compile(rf"{_forms(_UNKNOWN_NAMES, 'mask', '(?-i:MASK)')}|\bunk\b", re.IGNORECASE)
_PAIR = re.compile(r"\s*(?:sos|bos)\s+(?P<text>\S.*\S|\S)\s+eos\s*[.!]?\s*", re.IGNORECASE | re.DOTALL)
_MAY_HOLD_MARK = re.compile(r"[<\[#_]|seq|unk|eos", re.IGNORECASE)  # saves the patterns above most captions
_AROUND = " \t\r\n.,;!?"


def find_mark(caption: str) -> str:
    """Caption -> the first decoder's mark in it, such as "<end>"; "" for none."""
    found = [match for match in (_FRAME.search(caption), _UNKNOWN.search(caption)) if match]
    return min(found, key=lambda match: match.start())[0] if found else ""


def without_marks(caption: str) -> str:
    """Caption -> the same without the marks that a decoder needs and people do not write; unchanged without them.

    Marks count where they begin or end the caption, as `<start> a dog <end>`, and then inside it too. A word such as
    "start" and a tag such as `<b>` stay, and so does a mark that stands inside alone. What stands for an unknown word
    (`<unk>`) is left out anywhere.
    """
    if not _MAY_HOLD_MARK.search(caption):
        return caption
    if pair := _PAIR.fullmatch(caption):
        caption = pair["text"]
    marks = list(_FRAME.finditer(caption))
    if marks and not (caption[: marks[0].start()].strip(_AROUND) and caption[marks[-1].end() :].strip(_AROUND)):
        caption = _left_out(_FRAME, caption)
    return _left_out(_UNKNOWN, caption) if _UNKNOWN.search(caption) else caption


def _left_out(marks: re.Pattern[str], caption: str) -> str:
    return " ".join(marks.sub(" ", caption).split())


def usable_captions(captions: Iterable[str], counts: Counter[str] | None = None) -> tuple[str, ...]:
    """Captions of an image -> those to learn from and to compare with, in order, without marks.

    Left out are those without a word, those of more than MAX_CHARACTERS, and all after the first MAX_CAPTIONS.

    Args:
      counts: takes how many there were of each kind of fault; added to.
    """
    counts = Counter() if counts is None else counts
    kept: list[str] = []
    for caption in captions:
        if len(caption) > MAX_CHARACTERS or len(kept) == MAX_CAPTIONS:
            counts[OVER_LIMIT] += 1
            continue
        text = without_marks(caption)
        if has_words(text):
            counts[MARKED] += text != caption
            kept.append(text)
        else:
            counts[WORDLESS] += 1
    return tuple(kept)
