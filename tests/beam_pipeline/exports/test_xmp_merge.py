import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.exports.mark import Change, Mark, mark_from_text, mark_to_text, next_states
from beam_pipeline.exports.xmp import Packet, UnreadableXmp
from beam_pipeline.exports.xmp_merge import Words, merge_sidecar, take_back_sidecar

SHA = "a" * 64
DC, RDF = "http://purl.org/dc/elements/1.1/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def words(caption="a dog", keywords=("dog", "grass"), mode="skip", model_id="m1"):
    return Words(caption, keywords, mode, model_id, SHA)


def xmp(properties, namespaces=""):
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk='Another 1.0'>
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about="uuid:1" xmlns:dc="{DC}" {namespaces}>
   <!-- a word of the owner -->
   {properties}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


def described(**texts):
    items = "".join(f'<rdf:li xml:lang="{lang.replace("_", "-")}">{text}</rdf:li>' for lang, text in texts.items())
    return f"<dc:description><rdf:Alt>{items}</rdf:Alt></dc:description>"


def bag(name, *items, kind="Bag"):
    return f"<{name}><rdf:{kind}>" + "".join(f"<rdf:li>{item}</rdf:li>" for item in items) + f"</rdf:{kind}></{name}>"


ALL = """xmlns:digiKam="http://www.digikam.org/ns/1.0/" xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
 xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure="+1.0" xmlns:zz="urn:zz:" """


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("skip", {"x-default": "Anna", "de": "Änna"}),
        ("append", {"x-default": "Anna a dog", "de": "Änna"}),
        ("overwrite", {"x-default": "a dog", "de": "Änna"}),
    ],
)
def test_a_persons_description_stays_is_added_to_or_replaced_in_one_language(mode, expected):
    data = xmp(described(x_default="Anna", de="Änna"))
    written = merge_sidecar(data, words(mode=mode))
    assert Packet(written).texts("dc:description") == expected
    assert take_back_sidecar(written) == Packet(data).to_bytes()


@pytest.mark.parametrize(("mode", "expected"), [("skip", "Anna"), ("append", "Anna a dog"), ("overwrite", "a dog")])
def test_a_description_in_the_older_property_is_a_persons_too(mode, expected):
    older = described(x_default="Anna").replace("dc:description", "tiff:ImageDescription")
    data = xmp(older, 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"')
    written = merge_sidecar(data, words(mode=mode))
    packet = Packet(written)
    assert packet.texts("tiff:ImageDescription") == {"x-default": expected}
    assert packet.texts("dc:description") == ({} if mode == "skip" else {"x-default": expected})
    assert take_back_sidecar(written) == Packet(data).to_bytes()


def test_keywords_are_added_to_each_list_and_hierarchies_stay():
    data = xmp(bag("dc:subject", "Dog", "Lake") + bag("lr:hierarchicalSubject", "Animals|Dog", "Places|Lake"), ALL)
    packet = Packet(merge_sidecar(data, words()))
    assert packet.words("dc:subject") == ["Dog", "Lake", "grass"]
    assert packet.words("lr:hierarchicalSubject") == ["Animals|Dog", "Places|Lake", "grass"]
    assert packet.words("digiKam:TagsList") == ["Animals/Dog", "Places/Lake", "grass"]


def test_a_list_that_would_turn_a_word_into_a_hierarchy_is_left_out():
    packet = Packet(merge_sidecar(xmp(bag("dc:subject", "AC/DC")), words()))
    assert packet.words("digiKam:TagsList") == []
    assert packet.words("lr:hierarchicalSubject") == ["AC/DC", "dog", "grass"]


@pytest.mark.parametrize(
    "properties",
    ["<dc:description>Anna</dc:description>", '<dc:description xml:lang="de">Anna</dc:description>', ""],
)
def test_a_text_in_a_form_of_other_programs_is_a_persons_too(properties):
    data = xmp(properties, 'dc:description="Anna"' if not properties else "")
    packet = Packet(merge_sidecar(data, words()))
    assert list(packet.texts("dc:description").values()) == ["Anna"]
    overwritten = merge_sidecar(data, words(mode="overwrite"))
    assert "a dog" in Packet(overwritten).texts("dc:description").values()
    assert Packet(take_back_sidecar(overwritten)).texts("dc:description") == Packet(data).texts("dc:description")


def test_what_an_earlier_export_wrote_is_replaced_and_what_a_person_changed_stays():
    first = merge_sidecar(None, words("a cat", ("cat", "grass")))
    assert merge_sidecar(first, words("a cat", ("cat", "grass"))) is None
    second = merge_sidecar(first, words(model_id="m2"))
    assert Packet(second).texts("dc:description") == {"x-default": "a dog"}
    assert Packet(second).words("dc:subject") == ["dog", "grass"]
    assert take_back_sidecar(second) == b""
    edited = second.replace(b"a dog</rdf:li>", b"Rex</rdf:li>").replace(b"<rdf:li>grass<", b"<rdf:li>Grass<")
    assert Packet(merge_sidecar(edited, words("a cat", ()))).texts("dc:description") == {"x-default": "Rex"}
    kept = Packet(take_back_sidecar(edited))
    assert (kept.texts("dc:description"), kept.words("dc:subject")) == ({"x-default": "Rex"}, ["Grass"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_keeps_its_encoding_and_its_line_ends(encoding, line_end):
    text = xmp(described(x_default="Zürich")).decode().replace("\ufeff", "").replace("\n", line_end)
    starts = {"latin-1": '<?xml version="1.0" encoding="latin-1"?>', "utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}
    data = (starts.get(encoding, "") + text).encode(encoding)
    written = merge_sidecar(data, words(mode="append")).decode(encoding)
    assert "Zürich a dog" in written
    assert line_end == "\n" or "\n" not in written.replace("\r\n", "")
    assert take_back_sidecar(written.encode(encoding)) == Packet(data).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<a/>",
        b"<a></a>",
        b"\xff\xfe<",
        xmp("<dc:description>")[:-40],
        b'<!DOCTYPE x [<!ENTITY e "eeeeeeee">]>' + xmp("<dc:description>&e;</dc:description>"),
        b'<?xml version="1.0" encoding="klingon"?>' + xmp(""),
        xmp("<dc:description>" + "<a>" * 1000 + "</a>" * 1000 + "</dc:description>"),
        xmp(described(x_default="Z\ufffd")).replace("\ufffd".encode(), b"\xfc"),
    ],
)
def test_what_is_no_xmp_is_refused(data):
    with pytest.raises(UnreadableXmp):
        merge_sidecar(data, words())


def test_no_entity_reaches_the_disk(tmp_path):
    (tmp_path / "secret").write_text("secret")
    doctype = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'.encode()
    with pytest.raises(UnreadableXmp, match="document type"):
        merge_sidecar(doctype + xmp("<dc:title>&e;</dc:title>"), words())


NO_BYTES = Change("EXIF:ImageDescription", ("Anna",), "\u02c3")
NO_TEXT = Change("dc:description", ("Anna", "Rex"))


@pytest.mark.parametrize("change", [NO_BYTES, NO_TEXT], ids=lambda change: change.field)
def test_a_mark_whose_changes_fit_no_field_is_none(change):
    assert mark_from_text(mark_to_text(Mark("m1", (SHA,), "", (change,)))) is None


@pytest.mark.parametrize("mark", ["", "null", "[]", "{}", '{"model_id": 1}', "[" * 100_000, '{"model_id": "\ud800"}'])
def test_a_mark_with_anything_wrong_is_none(mark):
    packet = Packet(merge_sidecar(None, words()))
    for element in packet._root.iter("{urn:captionbeam:metadata:1.0/}Changes"):
        element.text = mark.encode(errors="replace").decode()
    assert Packet(packet.to_bytes()).mark() is None
    assert take_back_sidecar(packet.to_bytes()) is None


letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="<&>\ufffe\uffff")
word = st.text(letters, max_size=12).filter(str.strip)
exported = st.tuples(word, st.lists(word, max_size=4).map(tuple), st.sampled_from(["skip", "append", "overwrite"]))
languages = st.dictionaries(st.sampled_from(["x-default", "de", "en-us", "zh-hans"]), word, max_size=3)


@given(
    languages,
    st.lists(word, max_size=4),
    st.lists(word, max_size=3),
    st.lists(word, max_size=3),
    st.lists(exported, max_size=3),
)
def test_whatever_was_written_how_often_taking_back_leaves_what_was_there(texts, subject, tags, paths, exports):
    properties = described(**texts) if texts else ""
    properties += bag("dc:subject", *subject) if subject else ""
    properties += bag("digiKam:TagsList", *tags, kind="Seq") if tags else ""
    properties += bag("lr:hierarchicalSubject", *paths) if paths else ""
    data = written = xmp(properties + "<zz:s rdf:parseType='Resource'><zz:q>5</zz:q></zz:s>", ALL)
    for caption, keywords, mode in exports:
        before = written
        written = merge_sidecar(before, words(caption, keywords, mode)) or before
        packet = Packet(written)
        for name in ("dc:subject", "digiKam:TagsList", "lr:hierarchicalSubject"):
            original = Packet(data).words(name)
            assert packet.words(name)[: len(original)] == original
        kept = dict(texts) if mode != "overwrite" else {one: t for one, t in texts.items() if one != "x-default"}
        found = packet.texts("dc:description")
        assert all(value in found[one] for one, value in kept.items())
    assert Packet(take_back_sidecar(written) or written).to_bytes() == Packet(data).to_bytes()


def test_a_mark_keeps_the_first_sha256_and_the_newest():
    states = next_states(None, "b" * 64, SHA)
    mark = Mark("m1", states, "b" * 64)
    assert next_states(mark, "b" * 64, SHA) == (SHA,)
    for number in range(20):
        mark = Mark("m1", next_states(mark, "b" * 64, f"{number:064x}"), "b" * 64)
    assert mark.states == (SHA, *(f"{number:064x}" for number in range(5, 20)))
    assert next_states(mark, "c" * 64, "d" * 64) == ("d" * 64,)
