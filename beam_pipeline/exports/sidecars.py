"""Sidecar files with captions, `a.txt` or `a.xmp` for `a.jpg`: their content and their names.

Addresses may come from archives of strangers, so no name leads out of the folder that is written to.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from beam_pipeline.runtime.text import stem

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{caption}</rdf:li></rdf:Alt></dc:description>
   <dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


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


def add_line(text: str, caption: str) -> str | None:
    """Content of a text file and a caption -> content with the caption as last line; None if a line equals it."""
    if caption in text.splitlines():
        return None
    return text + ("\n" if text and not text.endswith("\n") else "") + caption + "\n"


def xmp_packet(caption: str, keywords: tuple[str, ...]) -> bytes:
    """Caption and keywords -> content of an XMP file, with `dc:description` and `dc:subject`, in UTF-8."""
    items = "".join(f"<rdf:li>{_xml(word)}</rdf:li>" for word in keywords)
    packet = _XMP.format(caption=_xml(caption), keywords=items)
    ElementTree.fromstring(packet)  # fails here rather than in another program
    return packet.encode()


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
