"""Which .xmp file is whose: `a.xmp` may describe `a.jpg`, `a.CR2` or `a.mp4`, `a.jpg.xmp` describes `a.jpg` alone.

Adobe's programs name a sidecar `a.xmp`, darktable, digiKam and Immich `a.jpg.xmp`. The first of a raw picture holds its
development, so one that may be another file's is never touched.
"""

from __future__ import annotations

import os
from collections import defaultdict

from beam_pipeline.exports.xmp import Packet
from beam_pipeline.runtime.image_suffixes import IMAGE_SUFFIXES
from beam_pipeline.runtime.text import stem

ENDING = ".xmp"
_RAW = """
    .3fr .ari .arw .bay .braw .cap .cr2 .cr3 .crw .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos
    .mrw .nef .nrw .orf .pef .ptx .pxn .r3d .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f
"""
_VIDEO = ".3gp .avi .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .webm .wmv"
_OTHER = ".ai .eps .pdf .psb .psd .svg"
_DESCRIBED = IMAGE_SUFFIXES | frozenset(f"{_RAW} {_VIDEO} {_OTHER}".split())  # files that have sidecars
_SAME = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif"}


class XmpNames:
    """Finds the .xmp files of pictures; the names of one folder are held at a time."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._kinds: dict[str, set[str]] = {}

    def others(self, path: str) -> bool:
        """Whether beside a local picture is another file that the same `a.xmp` could describe."""
        folder, name = os.path.split(path)
        if folder != self._folder:
            self._folder, self._kinds = folder, _kinds(folder)
        return bool(self._kinds.get(stem(name).casefold(), set()) - {_kind(name)})


def _kinds(folder: str) -> dict[str, set[str]]:
    """Folder -> for each name without its ending, the endings of the files that have sidecars."""
    kinds = defaultdict(set)
    try:
        names = os.listdir(folder)
    except OSError:  # then there is no picture either
        return {}
    for name in names:
        if _kind(name) in _DESCRIBED:
            kinds[stem(name).casefold()].add(_kind(name))
    return kinds


def _kind(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def describes(packet: Packet, path: str, has_others: bool) -> bool:
    """Whether the content of `a.xmp` describes the picture at `path`, as far as it says.

    Args:
      has_others: see `XmpNames.others`; a sidecar that says nothing may then be that one's.
    """
    name = os.path.basename(path)
    if extension := "".join(packet.words("photoshop:SidecarForExtension")):
        wanted, kind = f".{extension.lower()}", _kind(name)
        return _SAME.get(wanted, wanted) == _SAME.get(kind, kind)
    if packet.uses("crs"):  # the development of a raw picture, whose name it may have
        return "".join(packet.words("crs:RawFileName")).casefold() == name.casefold()
    return not has_others
