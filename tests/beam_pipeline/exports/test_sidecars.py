import os
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.exports.sidecars import add_line, relative_name, sidecar, xmp_packet

XMP_TEXT = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"


def texts_of(packet: bytes) -> list[str]:
    return [item.text or "" for item in ElementTree.fromstring(packet).iter(XMP_TEXT)]


def test_a_sidecar_is_named_after_its_picture():
    assert sidecar("/p/a.b.jpg", ".txt", False) == "/p/a.b.txt"
    assert sidecar("/p/a.jpg", ".xmp", True) == "/p/a.jpg.xmp"


@pytest.mark.parametrize(
    ("uri", "root", "name"),
    [
        ("/p/a/b.jpg", "/p/", "a/b.jpg"),
        ("/p/a.tar!/../../x.jpg", "/p/", "a.tar!/%2e%2e/%2e%2e/x.jpg"),
        ("/p/a.tar!//etc/x.jpg", "/p/a.tar!/", "%/etc/x.jpg"),
        ("/p/a.tar!/./x\0.jpg", "/p/a.tar!/", "%2e/x%00.jpg"),
        ("/q/x.jpg", "/p/", "q/x.jpg"),
        ("s3://bucket/x.jpg", "", "s3/bucket/x.jpg"),
    ],
)
def test_no_name_leads_out_of_a_mirror(uri, root, name):
    assert relative_name(uri, root) == name
    assert os.path.normpath(os.path.join("/mirror", name)).startswith("/mirror/")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b.jpg", "\0", "a.tar!"]), min_size=1, max_size=6).map("/".join))
def test_whatever_an_address_contains_its_mirror_stays_inside(path):
    for root in ("", "/p/"):
        name = relative_name("/p/" + path, root)
        assert "\0" not in name
        assert os.path.normpath(os.path.join("/mirror", name)).startswith("/mirror/")


def test_a_line_is_added_once():
    assert add_line("", "a dog") == "a dog\n"
    assert add_line("x", "a dog") == "x\na dog\n"
    assert add_line("x\na dog\n", "a dog") is None


def test_an_xmp_file_has_caption_and_keywords():
    assert texts_of(xmp_packet("a <dog> & a cat", ("dog", "cat"))) == ["a <dog> & a cat", "dog", "cat"]


@given(st.text(), st.lists(st.text(min_size=1)))
def test_an_xmp_file_is_xml_whatever_a_caption_contains(caption, keywords):
    assert len(texts_of(xmp_packet(caption, tuple(keywords)))) == 1 + len(keywords)
