import json
import tarfile

from beam_pipeline.exports.webdataset import holds, shard_name, write_shard
from beam_pipeline.results.caption_index import CaptionedFile

DOG = CaptionedFile("/p/dog.PNG", "aa", "a dog", -0.5, (), ("dog",), False, 0.75)
COPY = CaptionedFile("/p/copy.png", "aa", "a dog", -0.5, (), ("dog",), True, 0.75)
CAT = CaptionedFile("/p/cat", "bb", "a cat", -1.0, ("repeats",), (), False)
PICTURES = [(DOG, COPY), (CAT,)]


def write(path, pictures=PICTURES, missing=()) -> int:
    def read(files):
        return None if files[0] in missing else f"bytes of {files[0].uri}".encode()

    with open(path, "wb") as file:
        return write_shard(file, pictures, read)


def members(path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_a_shard_has_bytes_description_and_caption_of_each_picture(tmp_path):
    assert write(tmp_path / "a.tar") == 2
    found = members(tmp_path / "a.tar")
    assert list(found) == ["aa.png", "aa.json", "aa.txt", "bb.jpg", "bb.json", "bb.txt"]
    assert (found["aa.png"], found["aa.txt"]) == (b"bytes of /p/dog.PNG", b"a dog")
    assert json.loads(found["aa.json"]) == {
        "uris": ["/p/dog.PNG", "/p/copy.png"],
        "sha256": "aa",
        "caption": "a dog",
        "score": -0.5,
        "confidence": 0.75,
        "flags": [],
        "keywords": ["dog"],
    }
    assert "confidence" not in json.loads(found["bb.json"])


def test_equal_pictures_give_equal_bytes(tmp_path):
    write(tmp_path / "a.tar")
    write(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path):
    assert write(tmp_path / "a.tar", missing=[DOG]) == 1
    assert list(members(tmp_path / "a.tar")) == ["bb.jpg", "bb.json", "bb.txt"]


def test_a_shard_is_current_only_with_exactly_its_pictures_and_captions(tmp_path):
    path = str(tmp_path / "a.tar")
    assert not holds(path, PICTURES), "there is none"
    write(path)
    assert holds(path, PICTURES)
    assert not holds(path, PICTURES[:1])
    assert not holds(path, [(DOG,), (CAT,)]), "a file more"
    with open(path, "r+b") as file:
        file.truncate(1500)
    assert not holds(path, PICTURES)


def test_a_damaged_shard_is_not_current(tmp_path):
    write(tmp_path / "a.tar")
    whole = (tmp_path / "a.tar").read_bytes()
    for damaged in (whole[:700], whole[: whole.rindex(b"bb.txt") + 1024], b"no tar", b""):
        (tmp_path / "a.tar").write_bytes(damaged)
        assert not holds(str(tmp_path / "a.tar"), PICTURES)
    extended = tarfile.TarInfo("pax")
    extended.type = tarfile.XHDTYPE
    (tmp_path / "a.tar").write_bytes(extended.tobuf() * 5000 + whole)  # tarfile would go 5,000 calls deep
    assert holds(str(tmp_path / "a.tar"), PICTURES)


def test_shards_are_numbered():
    assert shard_name(7) == "captions-000007.tar"
