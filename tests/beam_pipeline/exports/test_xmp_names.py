import pytest

from beam_pipeline.exports.xmp import Packet
from beam_pipeline.exports.xmp_names import XmpNames, describes

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" {}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("content", "name", "alone", "beside_others"),
    [
        (">", "a.jpg", True, False),
        ('photoshop:SidecarForExtension="CR2">', "a.jpg", False, False),
        ("><photoshop:SidecarForExtension>nef</photoshop:SidecarForExtension>", "a.jpg", False, False),
        ('photoshop:SidecarForExtension="JPG">', "a.jpeg", True, True),
        ('photoshop:SidecarForExtension="JPG" crs:Exposure2012="1">', "a.jpg", True, True),
        ('crs:Exposure2012="+0.35">', "a.jpg", False, False),
        ("><crs:ToneCurve/>", "a.jpg", False, False),
        ('crs:RawFileName="A.CR2">', "a.jpg", False, False),
        ('crs:RawFileName="A.JPG">', "a.jpg", True, True),
    ],
)
def test_whose_a_sidecar_is(content, name, alone, beside_others):
    packet = Packet(XMP.format(content).encode())
    assert describes(packet, f"/p/{name}", False) is alone
    assert describes(packet, f"/p/{name}", True) is beside_others


@pytest.mark.parametrize(
    ("beside", "others"),
    [
        ((), False),
        (("a.CR2",), True),
        (("A.dng",), True),
        (("a.mp4", "b.CR2"), True),
        (("a.png",), True),
        (("a.txt", "a.xmp", "a.jpg.xmp", "a.json", "ab.CR2", "a.b.CR2"), False),
    ],
)
def test_whether_another_file_may_have_the_same_sidecar(tmp_path, beside, others):
    for name in ("a.jpg", *beside):
        (tmp_path / name).touch()
    names = XmpNames()
    assert names.others(str(tmp_path / "a.jpg")) is others
    assert names.others(str(tmp_path / "none" / "a.jpg")) is False
    assert names.others(str(tmp_path / "a.jpg")) is others
