"""Captions in the COCO results format, `[{"image_id": "a.jpg", "caption": "a dog"}, ...]`: written, read, matched."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Collection, Mapping
from typing import Any

from training.data.caption_files import normalized_name
from training.documents import parse_json
from training.errors import UserError
from training.storage import read_bytes, write_json
from training.text.human_captions import find_mark
from training.text.plurals import counted

FORM = '[{"image_id": "name.jpg", "caption": "a dog runs"}, ...]'


def write_results(path: str, generated: Mapping[str, str]) -> None:
    """Writes {picture: caption} in the COCO results format, in the order of the names."""
    write_json(path, [{"image_id": name, "caption": caption} for name, caption in sorted(generated.items())])


def read_results(path: str) -> dict[str, str]:
    """File in the COCO results format -> {image_id: caption}; a numeric image_id becomes its digits.

    Raises:
      UserError: the file cannot be read, has another format, or holds two captions of one picture.
    """
    try:
        document = parse_json(_as_utf8(read_bytes(path)), object, f"--captions {path}", f"expected {FORM}")
    except OSError as error:
        raise UserError(f"--captions {path}: cannot be read ({error.strerror or error})") from error
    if not isinstance(document, list) or not document:
        raise UserError(f"--captions {path}: not a list of captions; expected {FORM}")
    entries = [_entry(entry) for entry in document]
    if bad := [number for number, entry in enumerate(entries, start=1) if entry is None]:
        others = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
        lacks = f"entry {bad[0]}{others} of {len(entries):,} has no image_id with a caption"
        raise UserError(f"--captions {path}: {lacks}; expected {FORM}")
    captions: dict[str, str] = {}
    for number, (name, caption) in enumerate(filter(None, entries), start=1):
        if name in captions:
            raise UserError(f"--captions {path}: entry {number} is a second caption of {name}; leave one a picture")
        captions[name] = caption
    return captions


def _as_utf8(data: bytes) -> bytes:
    """JSON in any encoding that its standards name, with or without a byte order mark -> the same in UTF-8."""
    try:
        return data.decode(json.detect_encoding(data)).encode()
    except UnicodeError:
        return data


def _entry(entry: Any) -> tuple[str, str] | None:
    """Entry of the list -> image_id and caption; None if it has not both."""
    name, caption = (entry.get("image_id"), entry.get("caption")) if isinstance(entry, dict) else (None, None)
    if isinstance(name, float) and name.is_integer():  # as pandas writes whole numbers
        name = int(name)
    if isinstance(name, bool) or not isinstance(name, (str, int)) or not isinstance(caption, str):
        return None
    # Halves of surrogate pairs, which JSON can hold, have no UTF-8.
    name, caption = (text.encode(errors="replace").decode() for text in (str(name), caption))
    return normalized_name(name), caption


def match_results(
    results: Mapping[str, str], names: Collection[str], path: str, list_path: str
) -> tuple[dict[str, str], list[str]]:
    """Assigns captions by image_id to listed names.

    An id fits a name if it equals the name, or the name without its folder, or without folder and ending.

    Args:
      results: of `read_results`.
      names: pictures to score, as in the list.
      path, list_path: of both files, for messages.

    Returns:
      {name: caption}, and the ids that fit no name.

    Raises:
      UserError: an id fits several names or a name several ids, or pictures have no caption.
    """
    fitting: dict[str, set[str]] = {}
    for name in names:
        whole = normalized_name(name)
        base = posixpath.basename(whole)
        for key in {whole, base, posixpath.splitext(base)[0]}:
            fitting.setdefault(key, set()).add(name)
    exact = {normalized_name(name): name for name in names}
    generated: dict[str, str] = {}
    left_over = []
    for key, caption in results.items():
        fits = {exact[key]} if key in exact else fitting.get(key, set())
        if not fits:
            left_over.append(key)
            continue
        if len(fits) > 1:
            raise UserError(
                f"--captions {path}: image_id {key} fits {' and '.join(sorted(fits)[:2])} of {list_path}; "
                "write the whole names"
            )
        (name,) = fits
        if name in generated:
            raise UserError(f"--captions {path}: image_id {key} is a second caption of {name}; keep only one")
        generated[name] = caption
    missing = sorted(set(names) - generated.keys())
    if missing:
        raise UserError(
            f"--captions {path}: no caption for {len(missing):,} of the {counted(len(names), 'picture')} "
            f"of {list_path}, such as {missing[0]}; caption them all, or list only those that have captions"
        )
    return generated, left_over


def refuse_marks(generated: Mapping[str, str], source: str) -> None:
    """Refuses captions that contain a decoder's mark, such as <end>, which scorers would count as a word.

    Args:
      generated: picture -> caption.
      source: option and value that the captions come from, for messages.

    Raises:
      UserError: names the source, the number of such captions, and one of them.
    """
    marked = {name: mark for name, caption in generated.items() if (mark := find_mark(caption))}
    if marked:
        name, mark = min(marked.items())
        raise UserError(
            f"{source}: {len(marked):,} of {counted(len(generated), 'caption')} with a mark that is not a word, "
            f"such as {mark} in that of {name}; remove the marks, which would be scored as words"
        )
