import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.exports.sidecars import relative_name, sidecar


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
