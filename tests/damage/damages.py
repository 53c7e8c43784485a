"""Single damages of a file, generated from a seed: cut, flipped, retyped, doubled, replaced by what is no file."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Damage:
    """What happens to one file; `apply` does it to the path of the file."""

    label: str
    apply: Callable[[Path], None]


def damages(path: Path, number: int, seed: str, elsewhere: Path) -> Iterator[Damage]:
    """Yields damages of a file, about `number` of them, the same for the same seed and content.

    Args:
      elsewhere: a folder outside, for links to lead to.
    """
    draw = random.Random(f"{seed} {path.name}")
    data = path.read_bytes()
    first = [*_replacements(path.name, data, elsewhere), *_encodings(data)]
    yield from first
    found = len(first)
    documents = _parsed(path.name, data)
    while found < number:
        kinds = [_flip, _flip, _cut, _overwrite]
        kinds += [_line] if data.count(b"\n") > 1 else []
        kinds += [_retype] * 5 if documents else []
        made = draw.choice(kinds)(data, draw, documents)
        if made is not None and made[1] != data:
            label, changed = made
            found += 1
            yield Damage(label, _writes(changed))


def _writes(data: bytes) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        times = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    return apply


def _replacements(name: str, data: bytes, elsewhere: Path) -> Iterator[Damage]:
    def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            path.unlink()
            make(path)

        return apply

    def link_to_copy(path: Path) -> None:
        copy = elsewhere / f"copy-{name}"
        copy.write_bytes(data)
        path.symlink_to(copy)

    def link_to_secret(path: Path) -> None:
        secret = elsewhere / "secret"
        secret.write_text("the secret of somebody else\n")
        path.symlink_to(secret)

    yield Damage("removed", replaced(lambda path: None))
    yield Damage("emptied", _writes(b""))
    yield Damage("a folder", replaced(lambda path: path.mkdir()))
    yield Damage("a pipe", replaced(lambda path: os.mkfifo(path)))
    yield Damage("a link to a copy elsewhere", replaced(link_to_copy))
    yield Damage("a link to another file elsewhere", replaced(link_to_secret))
    yield Damage("a link to nothing", replaced(lambda path: path.symlink_to(elsewhere / "nothing")))
    yield Damage("a link to itself", replaced(lambda path: path.symlink_to(path)))
    yield Damage("a link to an endless file", replaced(lambda path: path.symlink_to("/dev/zero")))


def _encodings(data: bytes) -> Iterator[Damage]:
    text = data.decode("latin-1")
    yield Damage("in UTF-16", _writes(text.encode("utf-16")))
    yield Damage("with a byte order mark", _writes(b"\xef\xbb\xbf" + data))
    half = len(data) // 2
    yield Damage("with a byte that is not UTF-8", _writes(data[:half] + b"\xe9" + data[half:]))
    yield Damage("with a NUL", _writes(data[:half] + b"\0" + data[half:]))
    yield Damage("all NUL", _writes(bytes(len(data))))
    yield Damage("another program's file", _writes(b"PK\x03\x04" + bytes(100)))


Made = tuple[str, bytes] | None


def _flip(data: bytes, draw: random.Random, documents: list) -> Made:
    if not data:
        return None
    place = draw.randrange(8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return f"bit {place % 8} of byte {place // 8:,} flipped", bytes(changed)


def _cut(data: bytes, draw: random.Random, documents: list) -> Made:
    if not data:
        return None
    place = draw.randrange(len(data))
    return f"cut after {place:,} bytes", data[:place]


def _overwrite(data: bytes, draw: random.Random, documents: list) -> Made:
    if len(data) < 2:
        return None
    begin = draw.randrange(len(data) - 1)
    length = min(draw.choice((1, 8, 100, 4096)), len(data) - begin)
    return f"{length} bytes from {begin:,} on are noise", data[:begin] + draw.randbytes(length) + data[begin + length :]


def _line(data: bytes, draw: random.Random, documents: list) -> Made:
    lines = data.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    what = draw.choice(("deleted", "doubled", "empty", "moved to the end"))
    line = lines.pop(place)
    if what == "doubled":
        lines[place:place] = [line, line]
    elif what == "empty":
        lines.insert(place, b"\n")
    elif what == "moved to the end":
        lines.append(line)
    return f"line {place + 1} {what}", b"".join(lines)


def _parsed(name: str, data: bytes) -> list:
    """The documents of a file: one, or one a line; none where it is not JSON."""
    try:
        if name.endswith(".json"):
            return [json.loads(data)]
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in data.splitlines()]
    except ValueError:
        pass
    return []


_OTHERS = {  # what stands in the place of a value
    "null": "null",
    "true": "true",
    "a text": '"12"',
    "an empty text": '""',
    "a list": "[1]",
    "an empty list": "[]",
    "an object": '{"a": 1}',
    "an empty object": "{}",
    "zero": "0",
    "a negative number": "-5",
    "half": "0.5",
    "a huge number": "1000000000000000000",
    "a number beyond floats": "1e999",
    "a number of 5,000 digits": "9" * 5000,
    "NaN": "NaN",
    "Infinity": "Infinity",
    "brackets in brackets": "[" * 50_000 + "]" * 50_000,
    "a long text": '"' + "x" * 1_000_000 + '"',
    "a lone surrogate": '"\\ud800"',
    "a path out of here": '"../../../etc/passwd"',
    "an address": '"s3://no-such-bucket-of-ours/x"',
}
_HOLE = "\0hole\0"


def _retype(data: bytes, draw: random.Random, documents: list) -> Made:
    """One value of a document changed in type, one key missing, doubled or renamed."""
    place = draw.randrange(len(documents))
    document = json.loads(json.dumps(documents[place]))
    keys, owner, key = _pick(document, draw)
    if owner is None:
        return None
    what = draw.choice(("value", "value", "value", "missing", "doubled", "renamed"))
    spot = "".join(f"[{one!r}]" for one in keys)
    if what == "missing":
        del owner[key]
        label, text = f"{spot} is missing", json.dumps(document)
    elif what == "renamed" and isinstance(owner, dict):
        owner[f"{key}x"] = owner.pop(key)
        label, text = f"{spot} is renamed", json.dumps(document)
    elif what == "doubled" and isinstance(owner, dict):
        value = json.dumps(owner.pop(key))
        owner[_HOLE] = None
        other = draw.choice((value, value, '"x"', "1"))
        label = f"{spot} is there twice"
        text = json.dumps(document).replace(
            f"{json.dumps(_HOLE)}: null", f"{json.dumps(key)}: {value}, {json.dumps(key)}: {other}"
        )
    else:
        name = draw.choice(sorted(_OTHERS))
        owner[key] = _HOLE
        label, text = f"{spot} is {name}", json.dumps(document).replace(json.dumps(_HOLE), _OTHERS[name])
    if len(documents) == 1 and data.count(b"\n") != 1:
        return label, (text + "\n").encode()
    lines = data.splitlines(keepends=True)
    lines[place] = (text + "\n").encode()
    return f"line {place + 1}: {label}", b"".join(lines)


def _pick(document, draw: random.Random) -> tuple[list, dict | list | None, str | int | None]:
    """A random place in a document -> the keys to it, what holds it, and its key there."""
    keys: list = []
    owner, key, node = None, None, document
    while isinstance(node, dict | list) and node and (owner is None or draw.random() < 0.75):
        owner = node
        key = draw.choice(sorted(node)) if isinstance(node, dict) else draw.randrange(len(node))
        keys.append(key)
        node = node[key]
    return keys, owner, key


def restore(source: Path, target: Path) -> None:
    """Makes `target` a copy of the directory `source`, times included, whatever stands there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
