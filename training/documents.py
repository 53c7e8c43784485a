"""JSON that captionbeam wrote, read again: every file against a schema, once, with one error that names file and place.

A schema is a type: a dataclass, a TypedDict or a NamedTuple whose annotations say what each field holds, and the bounds
of a number. Keys that a schema does not name are left out, since another captionbeam may have written them. A document
carries the sha256 of its own content, so that no change to it goes unnoticed; one without it is read as it is, since
an earlier captionbeam may have written it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta

from training.errors import UserError

T = TypeVar("T")

CHECKSUM = "checksum"  # of a document: sha256 of its other content
MOST_BYTES = 1 << 28  # of a document, or of a line

Count = Annotated[int, Meta(ge=0, le=1 << 50)]
Number = float  # a finite one, as no other is read from JSON
Finite = Annotated[float, Meta(ge=-1.79e308, le=1.79e308)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Sha256OrNone = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
Hex = Annotated[str, Meta(pattern="^[0-9a-f]{0,64}$")]
FileName = Annotated[str, Meta(pattern=r"^[^/\\\0]{1,255}$")]
Scalar = str | int | float | bool | None


class Damaged(UserError):
    """A file that is not as captionbeam wrote it.

    Args:
      path: of the file.
      fault: what is wrong, and where in it.
      mend: what to do, as the end of the message.
    """

    def __init__(self, path: str, fault: str, mend: str):
        super().__init__(f"{path}: {fault}; {mend}")
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:  # travels from Beam's workers
        return _again, (str(self), self.path)


def _again(message: str, path: str) -> Damaged:
    error = Damaged.__new__(Damaged)
    UserError.__init__(error, message)
    error.path = path
    return error


def to_document(content: Mapping[str, Any]) -> bytes:
    """Content of a document -> its file: indented JSON with its checksum as the last entry.

    Raises:
      ValueError: it holds a NaN or an infinity, which have no JSON form.
    """
    plain = json.loads(json.dumps({name: content[name] for name in content if name != CHECKSUM}, allow_nan=False))
    text = json.dumps({**plain, CHECKSUM: _checksum(plain)}, indent=1, ensure_ascii=False)
    return (text + "\n").encode(errors="backslashreplace")


def _checksum(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def parse_document(data: bytes, kind: type[T], path: str, mend: str, version: int | None = None) -> T:
    """Content of a document's file -> what it holds, as `kind` says.

    Args:
      kind: the schema.
      path: of the file, for messages.
      mend: what to do about a damaged file, as the end of a message.
      version: the `schema_version` that it must have; None for one without.

    Raises:
      Damaged: it is no such document, or was changed.
      UserError: it is of another schema version.
    """
    fault = partial(_raise, path, mend)
    content = _decode(data, fault)
    if not isinstance(content, dict):
        fault(f"expected an object, found {_shown(content)}")
    if version is not None and (found := content.get("schema_version")) != version:
        if isinstance(found, int) and not isinstance(found, bool) and found > version:
            raise UserError(
                f"{path}: schema version {found}, which a newer captionbeam wrote; this one reads {version}: install "
                "the newer one"
            )
        fault(f"schema version {_shown(found)}, not {version}")
    checksum = content.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(content):
        fault("changed since it was written: its content does not have its checksum")
    return _as(kind, content, fault)


def parse_json(data: bytes, kind: type[T], path: str, mend: str) -> T:
    """JSON that others may have written -> what it holds, as `kind` says; no checksum.

    Raises:
      Damaged: it is not JSON in UTF-8, or not as `kind` says.
    """
    fault = partial(_raise, path, mend)
    return _as(kind, _decode(data, fault), fault)


def as_kind(content: Any, kind: type[T], path: str, mend: str) -> T:
    """Values of a file that is no JSON -> the same, as `kind` says.

    Raises:
      Damaged: they are something else.
    """
    return _as(kind, content, partial(_raise, path, mend))


def parse_lines(lines: Iterable[bytes], kind: type[T], path: str, mend: str) -> Iterator[T]:
    """Lines of JSON, or an open file of them -> what each holds, as `kind` says.

    Raises:
      Damaged: a line is not JSON in UTF-8, is cut short, or is not as `kind` says; names the line.
    """
    if isinstance(lines, io.IOBase):  # of which a line may be without end
        lines = iter(partial(lines.readline, MOST_BYTES), b"")
    for number, line in enumerate(lines, start=1):
        fault = partial(_raise, f"{path}:{number}", mend)
        if not line.endswith(b"\n"):
            fault("cut short")
        yield _as(kind, _decode(line, fault), fault)


def _raise(where: str, mend: str, fault: str) -> NoReturn:
    raise Damaged(where, fault, mend)


def _decode(data: bytes, fault: Callable[[str], NoReturn]) -> Any:
    if len(data) > MOST_BYTES:
        fault(f"larger than {MOST_BYTES:,} bytes")
    try:
        return _DECODER.decode(data.decode())
    except UnicodeDecodeError as error:
        fault(f"not UTF-8 (byte {error.start + 1:,})")
    except RecursionError:
        fault("not JSON that captionbeam writes (too many brackets in brackets)")
    except ValueError as error:
        fault(f"not JSON ({error})" if data.strip() else "empty")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def _finite(text: str) -> float:
    number = float(text)
    if number - number:
        raise ValueError(f"{text[:20]} is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


# Not msgspec's own decoder: it refuses lone surrogates, which stand for bytes of a file's name that are not UTF-8.
_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_finite, parse_constant=_no_constant)


def _as(kind: type[T], content: Any, fault: Callable[[str], NoReturn]) -> T:
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        fault(_in_words(kind, content, str(error)))
    except UnicodeEncodeError as error:  # msgspec's, where a number is expected
        fault(f"expected a number, found {_shown(error.object)}")
    except RecursionError:
        fault("too many brackets in brackets")


_MESSAGE = re.compile(r"(?P<fault>.*?)(?: - at `(?P<key>key in )?`?\$(?P<place>.*)`)?", re.S)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_WORDS = (
    (re.compile(r", got .*"), ""),
    (re.compile(r"`int`"), "a whole number"),
    (re.compile(r"`float`"), "a number"),
    (re.compile(r"`str`"), "a text"),
    (re.compile(r"`bool`"), "true or false"),
    (re.compile(r"`array`"), "a list"),
    (re.compile(r"`object`"), "an object"),
    (re.compile(r"`null`"), "null"),
    (re.compile(r" >= (\S+)"), r" of \1 or more"),
    (re.compile(r" <= (\S+)"), r" of at most \1"),
    (re.compile(r"^object missing required field `(.*)`"), r"\1 is missing"),
)


def _in_words(kind: Any, content: Any, message: str) -> str:
    """msgspec's message about some content -> the place in it, what was expected there, and what was found."""
    match = _MESSAGE.fullmatch(message)
    assert match
    fault = match["fault"][:1].lower() + match["fault"][1:]
    for theirs, ours in _WORDS:
        fault = theirs.sub(ours, fault)
    place, value = _locate(kind, content, match["place"] or "")
    if fault.startswith("expected"):
        fault += f", found {_shown(value)}"
    return f"{place}: {fault}" if place else fault


def _locate(kind: Any, content: Any, place: str) -> tuple[str, Any]:
    """msgspec's place of a fault, such as `.shards[...].records` -> the same with the element, and the value there."""
    keys: list[Any] = []
    value = content
    for step in _STEP.finditer(place):
        key = step["name"] if step["name"] is not None else step["index"] and int(step["index"])
        if key is None:
            key = _faulty_element(kind, content, keys, value)
        keys.append(key)
        value = value[key]
    names = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(names).lstrip("."), value


def _faulty_element(kind: Any, content: Any, keys: list[Any], elements: Any) -> Any:
    """The key of the element of a list or an object that a schema does not fit, found by halving."""
    candidates = list(elements) if isinstance(elements, dict) else list(range(len(elements)))
    while len(candidates) > 1:
        half = candidates[: len(candidates) // 2]
        part = {key: elements[key] for key in half} if isinstance(elements, dict) else [elements[key] for key in half]
        candidates = candidates[len(half) :] if _fits(kind, _replaced(content, keys, part)) else half
    return candidates[0]


def _fits(kind: Any, content: Any) -> bool:
    try:
        msgspec.convert(content, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


def _replaced(content: Any, keys: list[Any], part: Any) -> Any:
    if not keys:
        return part
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[keys[0]] = _replaced(content[keys[0]], keys[1:], part)
    return copy


def _shown(value: Any) -> str:
    try:
        shown = json.dumps(value)
    except RecursionError:
        return "brackets in brackets"
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
