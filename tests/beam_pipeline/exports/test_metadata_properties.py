"""Whatever is in a picture, what export writes beside it can be taken back: read and made by exiftool."""

import hashlib
import io
import itertools
import json
import shutil
import subprocess
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from beam_pipeline.exports.embedded import remove_words, write_words
from beam_pipeline.exports.xmp_merge import Words

pytest.importorskip("pyexiv2", reason="needs pyexiv2, the extra metadata")

# The file itself, and where in it something is.
PASSING = ("SourceFile", "ExifTool:", "System:", "File:CurrentIPTCDigest", "IFD0:StripOffsets")
CONTAINER = "RIFF:WebP_Flags"  # tells that there is XMP
DESCRIPTIONS = ("XMP-dc:Description", "IPTC:Caption-Abstract", "IFD0:ImageDescription")


class ExifTool:
    """One exiftool that stays open, since its start takes longer than its work."""

    def __init__(self):
        command = ["exiftool", "-stay_open", "True", "-@", "-", "-common_args", "-charset", "filename=utf8"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *arguments):
        """Runs it with arguments -> what it prints; each argument is one line, with line ends as its -ec takes them."""
        print(*(argument.replace("\n", " ") for argument in arguments), "-execute", sep="\n", file=self._process.stdin)
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "{ready}\n")
        return "".join(lines)

    def read(self, path):
        """Path of a picture -> its fields, each with its group."""
        (fields,) = json.loads(self("-j", "-G1", "-struct", "-a", "-u", str(path)))
        return {name: value for name, value in fields.items() if not name.startswith(PASSING)}

    def close(self):
        self._process.communicate("-stay_open\nFalse\n")


@pytest.fixture(scope="module")
def exiftool():
    if shutil.which("exiftool") is None:
        pytest.skip("needs exiftool (Debian: libimage-exiftool-perl)")
    tool = ExifTool()
    yield tool
    tool.close()


def characters(**limits):
    return st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], **limits)


def texts(alphabet, longest=30):
    return st.text(alphabet, min_size=1, max_size=longest).map(str.strip).filter(bool)


unicode_text, latin_text = texts(characters(max_codepoint=0xFFFF)), texts(characters(max_codepoint=0xFF))
ascii_text = texts(characters(max_codepoint=0x7E))
keywords = st.lists(texts(characters(max_codepoint=0xFFFF), 10), max_size=3, unique_by=str.casefold)


def xmp_packets():
    """XMP with descriptions in several languages, keywords and hierarchies, and properties of foreign namespaces."""
    languages = st.dictionaries(st.sampled_from(["x-default", "de", "en-us", "ja"]), unicode_text, max_size=3)
    hierarchy = st.lists(st.lists(texts(characters(max_codepoint=0x17F), 6), min_size=1, max_size=3), max_size=2)
    return st.builds(_packet, languages, keywords, hierarchy, st.sampled_from(["|", "/"]), unicode_text, st.booleans())


def _packet(languages, subject, hierarchy, separator, foreign, is_rated):
    def items(kind, words):
        return f"<rdf:{kind}>" + "".join(f"<rdf:li>{escape(word)}</rdf:li>" for word in words) + f"</rdf:{kind}>"

    alternatives = "".join(f'<rdf:li xml:lang="{one}">{escape(text)}</rdf:li>' for one, text in languages.items())
    paths = [separator.join(path) for path in hierarchy]
    tag = {"|": "lr:hierarchicalSubject", "/": "digiKam:TagsList"}[separator]
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Another 1.0"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
 xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:zz="urn:zz:"
 zz:note={quoteattr(foreign)}>
 {f"<dc:description><rdf:Alt>{alternatives}</rdf:Alt></dc:description>" if languages else ""}
 {f"<dc:subject>{items('Bag', subject)}</dc:subject>" if subject else ""}
 {f"<{tag}>{items('Seq' if separator == '/' else 'Bag', paths)}</{tag}>" if paths else ""}
 {"<xmp:Rating>4</xmp:Rating>" if is_rated else ""}
 <zz:place rdf:parseType="Resource"><zz:lake>{escape(foreign)}</zz:lake></zz:place>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def joined(lists):
    return [*itertools.chain.from_iterable(lists)]


def optional(name, values):
    return values.map(lambda value: [f"-{name}={value}"]) | st.just([])


def iptc_fields():
    """Arguments that write IPTC: in Latin-1 or UTF-8, with and without its mark."""

    def fields(text):
        parts = optional("IPTC:Caption-Abstract", text), optional("IPTC:City", text), optional("IPTC:Headline", text)
        words = st.lists(text.map(lambda word: word[:20].strip()).filter(bool), max_size=3, unique_by=str.casefold)
        return st.tuples(*parts, words.map(lambda found: [f"-IPTC:Keywords={word}" for word in found])).map(joined)

    marked = fields(unicode_text).map(lambda found: [*found, "-IPTC:CodedCharacterSet=UTF8"] if found else [])
    unmarked = fields(unicode_text).map(lambda found: ["-charset", "iptc=UTF8", *found])
    return st.just([]) | fields(latin_text) | fields(ascii_text) | marked | unmarked


def exif_fields():
    parts = (
        optional("EXIF:ImageDescription", unicode_text),
        optional("EXIF:UserComment", unicode_text),
        optional("EXIF:XPComment", unicode_text),
        optional("EXIF:XPKeywords", unicode_text),
        optional("EXIF:Make", ascii_text),
        optional("EXIF:Orientation#", st.integers(1, 8)),
        optional("EXIF:GPSLatitude", st.integers(0, 89)),
    )
    return st.tuples(*parts).map(joined)


exported = st.lists(
    st.tuples(unicode_text, keywords.map(tuple), st.sampled_from(["skip", "append", "overwrite"])),
    min_size=1,
    max_size=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("metadata")


@pytest.mark.parametrize("caption", ["a dog", "größer", "犬"])
@pytest.mark.parametrize("mode", ["skip", "append", "overwrite"])
def test_other_words_in_latin_1_without_its_mark_stay_valid_and_readable(exiftool, folder, caption, mode):
    path = folder / "latin.jpg"
    Image.new("RGB", (16, 8)).save(path)
    exiftool("-overwrite_original", "-IPTC:City=Zürich", "-IPTC:By-line=Jürg Müller", str(path))
    data = path.read_bytes()
    path.write_bytes(write_words(data, Words(caption, (caption,), mode, "m1", hashlib.sha256(data).hexdigest())).data)
    read = exiftool.read(path)
    assert (read["IPTC:City"], read["IPTC:By-line"]) == ("Zürich", "Jürg Müller")
    assert read["XMP-dc:Description"] == read.get("IPTC:Caption-Abstract", "犬") == caption
    assert "Validate                        : OK" in exiftool("-validate", "-IPTC:all", "-XMP:all", str(path))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]),
    st.none() | xmp_packets(),
    iptc_fields(),
    exif_fields(),
    exported,
)
def test_removing_gives_back_every_field(exiftool, folder, form, xmp, iptc, exif, exports):
    path = folder / f"picture.{form.lower()}"
    buffer = io.BytesIO()
    Image.new("RGB", (16, 8), (200, 10, 10)).save(buffer, form)
    path.write_bytes(buffer.getvalue())
    if xmp:
        (folder / "packet.xmp").write_text(xmp, encoding="utf-8")
        exiftool("-overwrite_original", f"-XMP<={folder}/packet.xmp", str(path))
    iptc = iptc if form in ("JPEG", "TIFF") else []
    if iptc or exif:
        exiftool("-overwrite_original", "-m", *iptc, *exif, str(path))
    original = path.read_bytes()
    before = exiftool.read(path)
    sha256 = hashlib.sha256(original).hexdigest()
    data = original
    for caption, words, mode in exports:
        data = write_words(data, Words(caption, words, mode, "m1", sha256)).data or data
        path.write_bytes(data)
        after = exiftool.read(path)
        for name, value in before.items():
            if isinstance(value, list):
                assert after[name][: len(value)] == value
            elif not name.startswith((*DESCRIPTIONS, CONTAINER)):
                assert after[name] == value or (isinstance(after[name], list) and after[name][0] == value), name
            elif mode != "overwrite" and name != CONTAINER:
                assert str(after[name]).startswith(str(value).rstrip())
    back = remove_words(data, sha256).data or data
    path.write_bytes(back)
    assert exiftool.read(path) == before
    if not xmp and not iptc and not exif:
        assert back == original
