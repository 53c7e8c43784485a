"""XMP packets: texts in several languages and lists of words, read and changed; all else stays as it is.

Packets come from strangers: no entity is resolved, nothing is fetched, and size and depth are bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator

from lxml import etree

from beam_pipeline.exports.mark import XMP_LISTS, XMP_TEXTS, Mark, mark_from_text, mark_to_text
from beam_pipeline.inputs.written_mark import IMAGE, NAMESPACE, PREFIX, SHA256
from training.text.plurals import counted

DEFAULT_LANGUAGE = "x-default"
MOST_BYTES = 32 << 20

_RDF, _XML = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://www.w3.org/XML/1998/namespace"
_NAMESPACES = {
    "rdf": _RDF,
    "crs": "http://ns.adobe.com/camera-raw-settings/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "digiKam": "http://www.digikam.org/ns/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "MicrosoftPhoto": "http://ns.microsoft.com/photo/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    PREFIX: NAMESPACE,
}
_ORDERED = ("digiKam:TagsList",)  # lists that are written as rdf:Seq; the others as rdf:Bag
_MODEL, _CHANGES = f"{PREFIX}:Model", f"{PREFIX}:Changes"
_SHA256, _IMAGE = f"{PREFIX}:{SHA256}", f"{PREFIX}:{IMAGE}"
_MARK = (_MODEL, _SHA256, _IMAGE, _CHANGES)

_EMPTY = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"\s*<\?xml\s[^>]*encoding\s*=\s*[\"']([A-Za-z][\w.-]*)")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class UnreadableXmp(ValueError):
    """Data are no XMP; the message is the reason, for a person."""


class Packet:
    """One XMP packet, or the content of an .xmp file.

    Args:
      data: its bytes; None for a new one.

    Attributes:
      is_new: whether there was none.

    Raises:
      UnreadableXmp: they are no XMP.
    """

    def __init__(self, data: bytes | None = None):
        self.is_new = data is None
        data = _EMPTY.encode() if data is None else data
        if len(data) > MOST_BYTES:
            raise UnreadableXmp(f"its XMP has {counted(len(data), 'byte')}, more than {MOST_BYTES:,}")
        self._encoding = _encoding(data)
        try:
            text = data.decode(self._encoding).rstrip("\0")
        except UnicodeDecodeError as error:
            raise UnreadableXmp(f"its XMP is not {self._encoding} (byte {error.start + 1:,})") from error
        bare = text.replace("\r\n", "\n")
        self._line_end = "\r\n" if text.count("\r\n") == bare.count("\n") > 0 else "\n"
        self._root = _parsed(text)
        name = f"{self._root.prefix}:" if self._root.prefix else ""
        name += etree.QName(self._root).localname
        start, end = text.find(f"<{name}"), text.rfind(f"</{name}>")
        if start < 0 or end < 0:
            raise UnreadableXmp("its XMP holds nothing")
        self._head, self._tail = text[:start], text[end + len(name) + 3 :]
        rdf = next(self._root.iter(f"{{{_RDF}}}RDF"), None)
        if rdf is None:
            raise UnreadableXmp("its XMP holds no rdf:RDF")
        self._rdf = rdf

    def to_bytes(self) -> bytes:
        """Returns the packet; as it was, byte for byte, but for what was changed and how its XML is spelt."""
        text = etree.tostring(self._root, encoding="unicode", with_tail=False)
        if self._line_end != "\n":
            text = text.replace("\n", self._line_end)
        return (self._head + text + self._tail).encode(self._encoding, "xmlcharrefreplace")

    def is_empty(self) -> bool:
        """Whether it has no property."""
        return not any(len(one) or _own_attributes(one) for one in self._descriptions())

    def uses(self, prefix: str) -> bool:
        """Whether it has a property of a namespace."""
        namespace = f"{{{_NAMESPACES[prefix]}}}"
        names = (name for one in self._descriptions() for name in (*one.attrib, *(child.tag for child in one)))
        return any(str(name).startswith(namespace) for name in names)

    def holds_words(self) -> bool:
        """Whether it has a description or keywords."""
        return any(next(self._values(name), None) is not None for name in (*XMP_TEXTS, *XMP_LISTS))

    def texts(self, name: str) -> dict[str, str]:
        """Property, as `dc:description` -> its texts by language, the default one first; empty without one."""
        found: dict[str, str] = {}
        for value in self._values(name):
            if isinstance(value, str):
                found.setdefault(DEFAULT_LANGUAGE, value)
                continue
            items = _items(value)
            if items is None:
                found.setdefault(_language(value), _text(value))
            for item in items or ():
                found.setdefault(_language(item), _text(item))
        return dict(sorted(found.items(), key=lambda pair: pair[0] != DEFAULT_LANGUAGE))

    def words(self, name: str) -> list[str]:
        """Property -> the items of its list; empty without one."""
        found: list[str] = []
        for value in self._values(name):
            items = [] if isinstance(value, str) else _items(value)
            if isinstance(value, str):
                found.append(value)
            elif items is None:
                found.append(_text(value))
            else:
                found += map(_text, items)
        return [word for word in found if word]

    def set_text(self, name: str, text: str | None, language: str = DEFAULT_LANGUAGE) -> None:
        """Sets one language of a property, or removes it if `text` is None; the other languages stay."""
        container = self._container(name, "Alt", create=text is not None)
        if container is None:
            return
        item = next((one for one in _children(container) if _language(one) == language.lower()), None)
        if text is None:
            if item is not None:
                _remove(item)
            self._drop_if_empty(container)
            return
        if item is None:
            item = etree.Element(f"{{{_RDF}}}li")
            item.set(f"{{{_XML}}}lang", language)
            if language == DEFAULT_LANGUAGE:
                container.insert(0, item)
            else:
                container.append(item)
        for child in list(item):
            item.remove(child)
        item.text = valid(text)

    def add_words(self, name: str, words: Iterable[str]) -> None:
        """Adds items to the end of a list."""
        words = list(words)
        if not words:
            return
        container = self._container(name, "Seq" if name in _ORDERED else "Bag", create=True)
        assert container is not None
        for word in words:
            etree.SubElement(container, f"{{{_RDF}}}li").text = valid(word)

    def remove_words(self, name: str, words: Iterable[str]) -> None:
        """Removes items from a list, the last of equal ones; those that it lacks are passed over."""
        container = self._container(name, "Bag", create=False)
        if container is None:
            return
        for word in words:
            item = next((one for one in reversed(_children(container)) if _text(one) == word), None)
            if item is not None:
                _remove(item)
        self._drop_if_empty(container)

    def mark(self) -> Mark | None:
        """Returns our mark; None where there is none, or one that is not as we write it."""
        mark = mark_from_text("".join(self.words(_CHANGES)))
        if mark is None or self.words(_SHA256) != [" ".join(mark.states)]:
            return None
        return mark

    def set_mark(self, mark: Mark | None) -> None:
        """Writes our mark in place of one that is there; None removes it."""
        for name in _MARK:
            for value in list(self._elements(name)):
                self._drop(value)
            for description in self._descriptions():
                description.attrib.pop(_tag(name), None)
        if mark is None:
            return
        values = {
            _MODEL: mark.model_id,
            _SHA256: " ".join(mark.states),
            _IMAGE: mark.image,
            _CHANGES: mark_to_text(mark),
        }
        home = self._home()
        for name in _MARK:
            if values[name]:
                etree.SubElement(home, _tag(name)).text = valid(values[name])

    def _descriptions(self) -> list[etree._Element]:
        return _children(self._rdf)

    def _elements(self, name: str) -> Iterator[etree._Element]:
        for description in self._descriptions():
            yield from description.iterchildren(_tag(name))

    def _values(self, name: str) -> Iterator[etree._Element | str]:
        """Values of a property: elements, and texts of attributes."""
        yield from self._elements(name)
        for description in self._descriptions():
            if (text := description.get(_tag(name))) is not None:
                yield text

    def _container(self, name: str, kind: str, create: bool) -> etree._Element | None:
        """The rdf:Alt, rdf:Bag or rdf:Seq of a property; one that has another form gets it."""
        element = next(self._elements(name), None)
        if element is None:
            owner = next((one for one in self._descriptions() if one.get(_tag(name)) is not None), None)
            if owner is None and not create:
                return None
            text = None if owner is None else owner.attrib.pop(_tag(name))
            element = etree.SubElement(self._home() if owner is None else owner, _tag(name), nsmap=_nsmap(name))
            element.text = text
        items = _items(element)
        if items is None:  # a plain text
            text, language = _text(element), _language(element)
            attributes = dict(element.attrib)
            tail = element.tail
            element.clear()
            element.tail = tail
            element.attrib.update({key: value for key, value in attributes.items() if key != f"{{{_XML}}}lang"})
            container = etree.SubElement(element, f"{{{_RDF}}}{kind}")
            if text.strip():
                item = etree.SubElement(container, f"{{{_RDF}}}li")
                item.text = text
                if kind == "Alt":
                    item.set(f"{{{_XML}}}lang", language)
            return container
        return _children(element)[0]

    def _drop_if_empty(self, container: etree._Element) -> None:
        if not _children(container):
            self._drop(container.getparent())

    def _drop(self, element: etree._Element) -> None:
        """Removes a property, and what then is left of our own rdf:Description."""
        owner = element.getparent()
        _remove(element)
        if not _children(owner) and not _own_attributes(owner) and PREFIX in owner.nsmap:
            _remove(owner)

    def _home(self) -> etree._Element:
        """Our own rdf:Description, where new properties go."""
        for one in self._descriptions():
            if one.nsmap.get(PREFIX) == NAMESPACE and PREFIX not in self._rdf.nsmap:
                return one
        about = next((one.get(f"{{{_RDF}}}about") for one in self._descriptions()), None)
        home = etree.SubElement(self._rdf, f"{{{_RDF}}}Description", nsmap={PREFIX: NAMESPACE})
        home.set(f"{{{_RDF}}}about", about or "")
        return home


def valid(text: str) -> str:
    """Text -> the same with U+FFFD for each character that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)


def _encoding(data: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    if data[:2] in (b"<\0", b"\0<"):
        return "utf-16-le" if data[0] else "utf-16-be"
    declared = _DECLARED.match(data)
    try:
        return codecs.lookup(declared[1].decode()).name if declared else "utf-8"
    except LookupError:
        raise UnreadableXmp("its XMP is in an encoding that is not known") from None


def _parsed(text: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, strip_cdata=False
    )
    # The text is decoded already, and a declaration may name another encoding.
    text = re.sub(r"^\ufeff?\s*<\?xml\s[^>]*\?>", "", text)
    try:
        root = etree.fromstring(text.strip().encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableXmp(f"its XMP is not XML ({' '.join(str(error).split())[:100]})") from error
    if root.getroottree().docinfo.doctype:
        raise UnreadableXmp("its XMP has a document type, which XMP never has")
    return root


def _tag(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _nsmap(name: str) -> dict[str, str]:
    prefix, _, _ = name.partition(":")
    return {prefix: _NAMESPACES[prefix]}


def _children(element: etree._Element) -> list[etree._Element]:
    """Child elements; comments and processing instructions left out."""
    return [one for one in element if isinstance(one.tag, str)]


def _items(element: etree._Element) -> list[etree._Element] | None:
    """Items of a property that is a list; None for a plain text."""
    children = _children(element)
    if children and children[0].tag in {f"{{{_RDF}}}{kind}" for kind in ("Alt", "Bag", "Seq")}:
        return _children(children[0])
    return None


def _text(element: etree._Element) -> str:
    return "".join(str(part) for part in element.itertext(etree.Element))


def _language(element: etree._Element) -> str:
    return element.get(f"{{{_XML}}}lang", DEFAULT_LANGUAGE).lower()


def _own_attributes(description: etree._Element) -> list[str]:
    return [str(name) for name in description.attrib if name != f"{{{_RDF}}}about" and name != "about"]


def _remove(element: etree._Element) -> None:
    """Removes an element; the text after it stays."""
    parent, before = element.getparent(), element.getprevious()
    if element.tail:
        if before is not None:
            before.tail = (before.tail or "") + element.tail
        else:
            parent.text = (parent.text or "") + element.tail
    parent.remove(element)
