"""The mark of what we wrote: which model, on which picture, and each change, so that it can be taken back exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, get_args

from msgspec import Meta

from beam_pipeline.inputs.written_mark import MOST_STATES
from training.documents import Sha256, Sha256OrNone, parse_json
from training.errors import UserError

Field = Literal[
    "dc:description",
    "tiff:ImageDescription",
    "dc:subject",
    "digiKam:TagsList",
    "lr:hierarchicalSubject",
    "IPTC:CharacterSet",
    "IPTC:Caption",
    "IPTC:Keywords",
    "EXIF:ImageDescription",
]
(
    DESCRIPTION,
    TIFF_DESCRIPTION,
    SUBJECT,
    TAGS_LIST,
    HIERARCHY,
    IPTC_CHARSET,
    IPTC_CAPTION,
    IPTC_KEYWORDS,
    EXIF_DESCRIPTION,
) = get_args(Field)
XMP_TEXTS: tuple[Field, ...] = (DESCRIPTION, TIFF_DESCRIPTION)
XMP_LISTS: tuple[Field, ...] = (SUBJECT, TAGS_LIST, HIERARCHY)
BYTE_FIELDS: tuple[Field, ...] = (IPTC_CHARSET, IPTC_CAPTION, IPTC_KEYWORDS, EXIF_DESCRIPTION)

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Change:
    """What we wrote into one field.

    Attributes:
      field: a text, or a list of words.
      wrote: the text alone, or the words that were added to the list. Of IPTC and EXIF each character is a byte.
      before: the text that stood there; None where the field was absent. Of a list always None.
      language: of a text in several languages, else "".
    """

    field: Field
    wrote: Annotated[tuple[str, ...], Meta(max_length=1000)]
    before: str | None = None
    language: Annotated[str, Meta(max_length=100)] = ""


@dataclass(frozen=True)
class Mark:
    """What we wrote into one file.

    Attributes:
      model_id: of the captioner.
      states: sha256s of the picture; the first is the one before we first wrote into it, and stays at every further
        writing. Others are added where the marked file was captioned as it is.
      image: `content_digest` of the picture, which tells whether the file still shows it; "" in a sidecar.
      changes: in no order.
      created: whether the file, or in a picture its XMP, is ours alone: it goes when nothing else is left in it.
    """

    model_id: Annotated[str, Meta(max_length=1000)]
    states: Annotated[tuple[Sha256, ...], Meta(min_length=1, max_length=MOST_STATES)]
    image: Sha256OrNone = ""
    changes: Annotated[tuple[Change, ...], Meta(max_length=100)] = ()
    created: bool = False


def mark_to_text(mark: Mark) -> str:
    """Mark -> JSON in ASCII."""
    return json.dumps(asdict(mark))


def mark_from_text(text: str) -> Mark | None:
    """JSON of a mark, perhaps a stranger's -> the mark; None where anything is wrong with it."""
    if len(text) > _MOST_BYTES:
        return None
    try:
        mark = parse_json(text.encode(), Mark, "mark", "")
    except (UserError, UnicodeEncodeError):  # no such JSON; a lone surrogate
        return None
    lists = (*XMP_LISTS, IPTC_KEYWORDS)
    if any(change.field not in lists and len(change.wrote) != 1 for change in mark.changes):
        return None
    in_bytes = (change for change in mark.changes if change.field in BYTE_FIELDS)
    if any(max("".join((*change.wrote, change.before or "\0")), default="") > "\xff" for change in in_bytes):
        return None
    return mark


def next_states(earlier: Mark | None, image: str, sha256: str) -> tuple[str, ...]:
    """Mark that a file carries, its image, and the sha256 that it is written for -> states of its new mark.

    The first sha256 of a mark stays as long as the file shows the same image; if it shows another one, it starts anew.
    """
    if earlier is None or earlier.image != image:
        return (sha256,)
    if sha256 in earlier.states:
        return earlier.states
    return (*earlier.states[:1], *earlier.states[1:][-(MOST_STATES - 2) :], sha256)
