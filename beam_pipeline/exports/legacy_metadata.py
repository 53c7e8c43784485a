"""A picture's IPTC and EXIF, older than XMP: a person's words in them, and ours beside them.

IPTC's bytes are in the character set that the file names, or in one that it does not name. That never changes: what it
cannot hold is not written there. A new IPTC block, and one that is all ASCII, get the mark of UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from beam_pipeline.exports.mark import (
    EXIF_DESCRIPTION,
    IPTC_CAPTION,
    IPTC_CHARSET,
    IPTC_KEYWORDS,
    Change,
    Field,
    Mark,
)
from beam_pipeline.exports.xmp_merge import Decision, Elsewhere

_TAGS: dict[Field, str] = {
    IPTC_CHARSET: "Iptc.Envelope.CharacterSet",
    IPTC_CAPTION: "Iptc.Application2.Caption",
    IPTC_KEYWORDS: "Iptc.Application2.Keywords",
    EXIF_DESCRIPTION: "Exif.Image.ImageDescription",
}
_IPTC_TAGS = {_TAGS[field] for field in (IPTC_CHARSET, IPTC_CAPTION, IPTC_KEYWORDS)}
_IPTC_FORMATS = ("image/jpeg", "image/tiff")  # where it is at home; elsewhere XMP alone
_LONGEST, _LONGEST_KEYWORD = 2000, 64  # bytes, by the IIM standard
_UTF8 = "\x1b%G"
_CODECS = {_UTF8: "utf-8", "\x1b.A": "latin-1", "\x1b-A": "latin-1"}

# EXIF that is no metadata of its own: places of values, which move, and in TIFF the tags that hold XMP and IPTC.
_NO_VALUE = re.compile(
    r"Exif\.\w+\.(\w+Tag|JPEGInterchangeFormat|(Strip|Tile)Offsets|SubIFDs|XMLPacket|IPTCNAA|ImageResources)"
    r"|Exif\.MakerNote\.\w+"
)

# What cameras and programs write by themselves, where a person would write a description or a comment.
_BY_MACHINE = re.compile(
    r"charset=ascii|created by imlib|dcim[\\/].*|default|digital camera|exif_jpeg_picture|konica minolta digital camera"
    r"|minolta digital camera|olympus digital camera|samsung|samsung camera pictures|screenshot|sony dsc|",
    re.IGNORECASE,
)


_NO_TEXT = re.compile("[\0-\x08\x0e-\x1f\ufffd]")  # binary data in the place of a text


class LegacyMetadata:
    """IPTC and EXIF of an open picture, and what is to change in them.

    Values are texts in Latin-1, as pyexiv2 is asked for: each character is a byte of the file.

    Args:
      image: of pyexiv2.

    Attributes:
      note: what could not be written, for a person; "" for nothing.
    """

    def __init__(self, image: Any):
        self._exif: dict[str, Any] = image.read_exif("latin-1")
        self._iptc: dict[str, Any] = image.read_iptc("latin-1")
        self._others = image.read_icc(), image.read_thumbnail(), image.read_comment("latin-1")
        self._takes_iptc = image.get_mime_type() in _IPTC_FORMATS
        self._codec = _codec(self._iptc)
        self._new: dict[Field, Any] = {}  # None removes
        self.note = ""

    def rest(self) -> tuple[Any, ...]:
        """Returns everything but description and keywords; equal before and after they are written."""
        exif = {tag: value for tag, value in self._exif.items() if not _NO_VALUE.fullmatch(tag)}
        exif.pop(_TAGS[EXIF_DESCRIPTION], None)
        return exif, {tag: value for tag, value in self._iptc.items() if tag not in _IPTC_TAGS}, self._others

    @property
    def changes_iptc(self) -> bool:
        """Whether IPTC is to be written."""
        return any(field != EXIF_DESCRIPTION for field in self._changed())

    @property
    def image_description(self) -> str | None:
        """The new ImageDescription of EXIF; None where it stays."""
        description: str | None = self._changed().get(EXIF_DESCRIPTION)
        return description

    def write_iptc(self, image: Any) -> None:
        """Writes the IPTC that is to change into the picture, opened again."""
        changed = {_TAGS[field]: value or None for field, value in self._changed().items() if field != EXIF_DESCRIPTION}
        if changed:
            image.modify_iptc(changed, "latin-1")

    def write(self, image: Any) -> None:
        """Writes all that is to change into the picture, opened again."""
        self.write_iptc(image)
        if self.image_description is not None:
            image.modify_exif({_TAGS[EXIF_DESCRIPTION]: self.image_description}, "latin-1")

    def elsewhere(self) -> Elsewhere:
        """Returns what a person wrote into the picture outside its XMP."""
        descriptions = self._decode(self._get(IPTC_CAPTION)), _persons(self._get(EXIF_DESCRIPTION))
        titles = [self._decode(self._iptc.get(f"Iptc.Application2.{name}")) for name in ("Headline", "ObjectName")]
        titles += [_windows(self._exif.get(f"Exif.Image.XP{name}")) for name in ("Comment", "Title", "Subject")]
        titles.append(_persons(re.sub(r"^charset=\w+ ", "", _joined(self._exif.get("Exif.Photo.UserComment")))))
        keywords = [self._decode(word) for word in self._keywords()]
        keywords += _windows(self._exif.get("Exif.Image.XPKeywords")).split(";")
        return Elsewhere(
            next(filter(None, descriptions), ""),
            next(filter(None, titles), ""),
            tuple(filter(None, map(str.strip, keywords))),
        )

    def take_back(self, mark: Mark | None) -> None:
        """Takes what a mark says out; what was changed since stays."""
        for change in mark.changes if mark else ():
            if change.field == IPTC_KEYWORDS:
                self._new[IPTC_KEYWORDS] = _without(self._keywords(), change.wrote)
            elif change.field in (IPTC_CAPTION, EXIF_DESCRIPTION) and self._get(change.field) == change.wrote[0]:
                self._new[change.field] = change.before
        # The mark of UTF-8 stays where a person has relied on it since.
        if mark and any(change.field == IPTC_CHARSET for change in mark.changes) and self._is_ascii():
            self._new[IPTC_CHARSET] = None

    def merge(self, decision: Decision) -> tuple[Change, ...]:
        """Writes our words into what holds none of ours; returns what was written."""
        changes = [*self._describe_exif(decision)]
        if self._takes_iptc:
            written = [*self._describe_iptc(decision), *self._add_keywords(decision)]
            if written and self._get(IPTC_CHARSET) is None and self._codec == "utf-8" and self._is_ascii():
                written.append(Change(IPTC_CHARSET, (_UTF8,)))
            for change in written:
                value = [*self._keywords(), *change.wrote] if change.field == IPTC_KEYWORDS else change.wrote[0]
                self._new[change.field] = value
            changes += written
        return tuple(changes)

    def _describe_exif(self, decision: Decision) -> Iterable[Change]:
        before = self._get(EXIF_DESCRIPTION)
        text = decision.description_for(_persons(before))
        if _persons(before) and text is not None:
            self._new[EXIF_DESCRIPTION] = text.encode().decode("latin-1")
            yield Change(EXIF_DESCRIPTION, (self._new[EXIF_DESCRIPTION],), before)

    def _describe_iptc(self, decision: Decision) -> Iterable[Change]:
        before = self._get(IPTC_CAPTION)
        text = decision.description_for(self._decode(before))
        if text is None or not (before is None or isinstance(before, str)):
            return
        for raw in self._fitting([text], _LONGEST):
            yield Change(IPTC_CAPTION, (raw,), before)

    def _add_keywords(self, decision: Decision) -> Iterable[Change]:
        persons = [] if self._keywords() or not decision.added else decision.known
        wrote = self._fitting([*persons, *decision.added], _LONGEST_KEYWORD)
        if wrote:
            yield Change(IPTC_KEYWORDS, tuple(wrote))

    def _fitting(self, texts: Iterable[str], longest: int) -> list[str]:
        """Texts -> those that the block can hold, in its character set."""
        found = []
        for text in texts:
            try:
                raw = text.encode(self._codec or "ascii").decode("latin-1")
            except UnicodeEncodeError:
                raw = None
            if self._codec is None or raw is None or len(raw) > longest:
                self.note = "its IPTC cannot hold some of the words, which are in its XMP alone"
            else:
                found.append(raw)
        return found

    def _changed(self) -> dict[Field, Any]:
        return {field: value for field, value in self._new.items() if (value or None) != self._original(field)}

    def _original(self, field: Field) -> Any:
        return (self._exif if field == EXIF_DESCRIPTION else self._iptc).get(_TAGS[field])

    def _get(self, field: Field) -> Any:
        return self._new[field] if field in self._new else self._original(field)

    def _keywords(self) -> list[str]:
        return list(self._get(IPTC_KEYWORDS) or ())

    def _is_ascii(self) -> bool:
        kept = {tag: value for tag, value in self._iptc.items() if tag not in _IPTC_TAGS}
        return all(_joined(value).isascii() for value in (*kept.values(), self._get(IPTC_CAPTION), self._keywords()))

    def _decode(self, value: Any) -> str:
        """Value of an IPTC text -> the text, without blanks around it."""
        return _decoded(_joined(value), self._codec or "utf-8").strip()


def _codec(iptc: dict[str, Any]) -> str | None:
    """IPTC -> the codec of its texts; None for a character set that is not known."""
    charset = iptc.get(_TAGS[IPTC_CHARSET])
    if charset:
        return _CODECS.get(charset) if isinstance(charset, str) else None
    raw = "".join(map(_joined, iptc.values())).encode("latin-1", "replace")
    for codec in ("utf-8", "cp1252"):
        try:
            raw.decode(codec)
            return codec
        except UnicodeDecodeError:
            continue
    return "latin-1"


def _joined(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(value or ())


def _decoded(raw: str, codec: str) -> str:
    data = raw.encode("latin-1", "replace")
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _persons(raw: Any) -> str:
    """Value of an EXIF text -> the text that a person wrote, without blanks around it; "" for none."""
    return _by_person(_decoded(_joined(raw), "utf-8"))


def _windows(value: Any) -> str:
    """Value of an EXIF text of Windows, which pyexiv2 decodes -> as `_persons`."""
    return _by_person(_joined(value))


def _by_person(text: str) -> str:
    text = text.strip("\0 \t\r\n")
    return "" if _BY_MACHINE.fullmatch(text) or _NO_TEXT.search(text) else text


def _without(words: list[str], taken: Iterable[str]) -> list[str]:
    """Words -> the same without those taken, the last of equal ones."""
    kept = words[::-1]
    for word in taken:
        if word in kept:
            kept.remove(word)
    return kept[::-1]
