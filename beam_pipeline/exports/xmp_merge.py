"""Our words into XMP that may hold a person's, and out of it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from beam_pipeline.exports.mark import (
    DESCRIPTION,
    HIERARCHY,
    SUBJECT,
    TAGS_LIST,
    XMP_LISTS,
    XMP_TEXTS,
    Change,
    Field,
    Mark,
    next_states,
)
from beam_pipeline.exports.xmp import DEFAULT_LANGUAGE, Packet, valid
from beam_pipeline.options.results import APPEND, OVERWRITE, SKIP

_SEPARATORS: dict[Field, str] = {TAGS_LIST: "/", HIERARCHY: "|"}
# Texts of a person beside dc:description: where one is, `skip` adds no description.
_OTHER_TEXTS = ("exif:UserComment", "photoshop:Headline")
_OTHER_WORDS = ("MicrosoftPhoto:LastKeywordXMP",)


@dataclass(frozen=True)
class Words:
    """What to write into a file, and how.

    Attributes:
      caption: for the description. A person's description stays (skip), gets the caption after it (append), or is
        replaced (overwrite) in the language of the caption; in other languages it stays.
      keywords: added to a person's, which stay.
      mode: one of `options.results.MODES`.
      model_id: of the captioner.
      sha256: of the picture, as the captions have it.
    """

    caption: str
    keywords: tuple[str, ...]
    mode: str
    model_id: str
    sha256: str


@dataclass(frozen=True)
class Elsewhere:
    """What a person wrote into a picture outside its XMP.

    Attributes:
      description: "" for none.
      other_text: a title, headline or comment; "" for none.
      keywords: in their order.
    """

    description: str = ""
    other_text: str = ""
    keywords: tuple[str, ...] = ()


def merge_sidecar(data: bytes | None, words: Words, elsewhere: Elsewhere | None = None) -> bytes | None:
    """Content of an .xmp file, None for a new one -> its new content; None where it stays as it is.

    What an earlier export wrote is replaced; what a person wrote stays, as `Words` says.

    Raises:
      UnreadableXmp: it is no XMP.
    """
    packet = Packet(data)
    before = packet.to_bytes()
    earlier = packet.mark()
    take_back(packet, earlier)
    changes = merge(packet, decide(packet, words, elsewhere or Elsewhere()))
    if changes:
        created = data is None or bool(earlier and earlier.created)
        packet.set_mark(Mark(words.model_id, next_states(earlier, "", words.sha256), "", changes, created))
    after = packet.to_bytes()
    return None if after == before else after


def take_back_sidecar(data: bytes) -> bytes | None:
    """Content of an .xmp file -> the same without what our mark says; None if it has no mark, b"" if nothing is left.

    Raises:
      UnreadableXmp: it is no XMP.
    """
    packet = Packet(data)
    mark = packet.mark()
    if mark is None:
        return None
    take_back(packet, mark)
    return b"" if mark.created and packet.is_empty() else packet.to_bytes()


@dataclass(frozen=True)
class Decision:
    """What is to be written into the fields of one file.

    Attributes:
      words: what was asked for.
      describe: whether a description is written.
      existing: a person's description, from whichever standard has one; "" for none.
      known: a person's keywords, those of every standard, each once.
      added: our keywords that are not among them.
    """

    words: Words
    describe: bool
    existing: str
    known: tuple[str, ...]
    added: tuple[str, ...]

    def description_for(self, own: str) -> str | None:
        """A person's description in one field -> the new one; None where the field stays as it is."""
        if not self.describe:
            return None
        return new_description(own or self.existing, valid(self.words.caption), self.words.mode)


def decide(packet: Packet, words: Words, elsewhere: Elsewhere) -> Decision:
    """XMP that holds none of our words, and a person's elsewhere -> what is to be written."""
    texts = (text.strip() for name in XMP_TEXTS for text in packet.texts(name).values())
    existing = next(filter(None, texts), "") or elsewhere.description
    others = (text.strip() for name in _OTHER_TEXTS for text in packet.texts(name).values())
    any_text = existing or elsewhere.other_text or next(filter(None, others), "")
    known = _persons_words(packet, elsewhere)
    folded = {word.casefold() for word in known}
    added = tuple(word for word in _distinct(map(valid, words.keywords)) if word.casefold() not in folded)
    return Decision(words, words.mode != SKIP or not any_text, existing, tuple(known), added)


def merge(packet: Packet, decision: Decision) -> tuple[Change, ...]:
    """Writes our words into a packet that holds none of ours; returns what was written."""
    return (*_describe(packet, decision), *_add_keywords(packet, decision))


def take_back(packet: Packet, mark: Mark | None) -> None:
    """Takes what a mark says out of its packet, and the mark; what was changed since stays."""
    if mark is None:
        return
    for change in mark.changes:
        if change.field in XMP_LISTS:
            packet.remove_words(change.field, change.wrote)
        elif change.field in XMP_TEXTS:
            found = packet.texts(change.field).get(change.language.lower())
            if found == valid(change.wrote[0]):
                packet.set_text(change.field, change.before, change.language)
    packet.set_mark(None)


def new_description(existing: str, caption: str, mode: str) -> str | None:
    """Existing description and caption -> the new description; None where it stays."""
    if not existing:
        return caption
    if mode == OVERWRITE:
        return None if existing == caption else caption
    return f"{existing} {caption}" if mode == APPEND and caption not in existing else None


def _describe(packet: Packet, decision: Decision) -> Iterator[Change]:
    for name in XMP_TEXTS:
        texts = packet.texts(name)
        before = texts.get(DEFAULT_LANGUAGE)
        own = next(filter(str.strip, texts.values()), "")  # in the default language, if there is one
        text = decision.description_for(own)
        if text is not None and text != before and (own or name == DESCRIPTION):
            packet.set_text(name, text)
            yield Change(name, (text,), before, DEFAULT_LANGUAGE)


def _persons_words(packet: Packet, elsewhere: Elsewhere) -> list[str]:
    flat = [*packet.words(SUBJECT), *elsewhere.keywords]
    flat += [word for name in _OTHER_WORDS for word in packet.words(name)]
    flat += [path.split(separator)[-1] for name, separator in _SEPARATORS.items() for path in packet.words(name)]
    return _distinct(flat)


def _distinct(words: Iterable[str]) -> list[str]:
    """Words -> the same, of words that differ only in case the first."""
    return list({word.casefold(): word for word in reversed(list(words))}.values())[::-1]


def _add_keywords(packet: Packet, decision: Decision) -> Iterator[Change]:
    if not decision.added:
        return
    # Many programs read one of the lists and then no other: a new list has a person's words too.
    persons = {name: () if packet.words(name) else _persons_list(name, packet, decision.known) for name in XMP_LISTS}
    for name, words in persons.items():
        if words is None:
            continue
        wrote = [*words, *(word for word in decision.added if _SEPARATORS.get(name, "\0") not in word)]
        if wrote:
            packet.add_words(name, wrote)
            yield Change(name, tuple(wrote))


def _persons_list(name: Field, packet: Packet, known: Sequence[str]) -> Sequence[str] | None:
    """A list that is not there, and a person's words -> what it would hold; None if it cannot hold them as they are."""
    if name not in _SEPARATORS:
        return known
    paths = [path.split(separator) for other, separator in _SEPARATORS.items() for path in packet.words(other)]
    placed = {part.casefold() for path in paths for part in path}
    paths += [[word] for word in known if word.casefold() not in placed]
    if any(_SEPARATORS[name] in part for path in paths for part in path):
        return None
    return [_SEPARATORS[name].join(path) for path in paths]
