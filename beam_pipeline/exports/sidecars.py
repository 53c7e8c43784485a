"""Names of the files that an export writes for a picture.

Addresses may come from archives of strangers, so no name leads out of the folder that is written to.
"""

from __future__ import annotations

from beam_pipeline.runtime.text import stem


def sidecar(uri: str, ending: str, shares_stem: bool) -> str:
    """Address of a picture -> address of its sidecar: a.txt for a.jpg; a.jpg.txt where there is an a.png too.

    Args:
      ending: of the sidecar, with its dot.
      shares_stem: whether another picture has the same address but for its ending.
    """
    return (uri if shares_stem else stem(uri)) + ending


def relative_name(uri: str, root: str) -> str:
    """Address of a picture -> its path relative to a mirror of `root`; never one that leads out of the mirror.

    Parts that a path cannot hold, or that mean another folder (.., ., empty), are percent-encoded: the member
    `../../x.jpg` of an archive gets the path `%2e%2e/%2e%2e/x.jpg`.

    Args:
      root: folder that is mirrored, with its slash. Of an address outside it the whole path is kept.
    """
    below = root and uri.startswith(root)
    name = uri[len(root) :] if below else uri.replace("://", "/", 1).lstrip("/")
    return "/".join(_safe(part) for part in name.split("/"))


def _safe(part: str) -> str:
    if part in ("", ".", ".."):
        return part.replace(".", "%2e") or "%"
    return part.replace("\0", "%00")
