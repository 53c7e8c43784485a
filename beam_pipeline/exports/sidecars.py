"""Captions as small files of their own, `a.txt` or `a.xmp` for `a.jpg`, and where they lie. Names are never trusted."""

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
    """Address of a picture -> that of its sidecar: a.jpg, a.txt; where there is an a.png too, a.jpg.txt and a.png.txt.

    Args:
      ending: of the sidecar, with its dot.
      shares_stem: whether another picture would get the same one.
    """
    return (uri if shares_stem else stem(uri)) + ending


def relative_name(uri: str, root: str) -> str:
    """Address of a picture -> its path below a mirror of `root`; no name leads out of the mirror.

    Parts that a path cannot hold or that mean another folder (.., ., nothing) are written in hexadecimal, as in
    addresses: a member `../../x.jpg` of an archive comes to lie at `%2e%2e/%2e%2e/x.jpg`.

    Args:
      root: what is left out at the beginning, with its slash; where an address does not begin so, it is mirrored whole.
    """
    below = root and uri.startswith(root)
    name = uri[len(root) :] if below else uri.replace("://", "/", 1).lstrip("/")
    return "/".join(_safe(part) for part in name.split("/"))


def _safe(part: str) -> str:
    if part in ("", ".", ".."):
        return part.replace(".", "%2e") or "%"
    return part.replace("\0", "%00")


def add_line(text: str, caption: str) -> str | None:
    """Content of a .txt and a caption -> with the caption as its last line; None where a line says it already."""
    if caption in text.splitlines():
        return None
    return text + ("\n" if text and not text.endswith("\n") else "") + caption + "\n"


def xmp_packet(caption: str, keywords: tuple[str, ...]) -> bytes:
    """Caption and keywords -> an XMP file: `dc:description` and `dc:subject`, as photo programs read them."""
    items = "".join(f"<rdf:li>{_xml(word)}</rdf:li>" for word in keywords)
    packet = _XMP.format(caption=_xml(caption), keywords=items)
    ElementTree.fromstring(packet)  # what is not XML would be our fault, and is better found here
    return packet.encode()


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
