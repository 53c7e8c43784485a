"""Listing and reading, whichever form of container an input lies in."""

import hashlib
import subprocess
import sys
import zipfile
from collections import Counter

import pytest

from beam_pipeline.inputs.containers import fingerprint, list_container, read_blocks, read_input
from beam_pipeline.inputs.input_file import TooLarge
from beam_pipeline.inputs.sources import stat_file


def test_a_file_is_read_in_blocks_up_to_the_limit(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(3 << 20))
    file = stat_file(str(path))
    assert [len(block) for block in read_blocks(file, 3 << 20)] == [1 << 20] * 3
    with pytest.raises(TooLarge, match="3145728 bytes, over the limit of 3145727"):
        read_input(file, (3 << 20) - 1)


def test_a_file_that_grew_after_it_was_listed_is_cut_off(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1234")
    file = stat_file(str(path))
    path.write_bytes(b"12345678")
    assert read_input(file, 8) == b"12345678"
    with pytest.raises(TooLarge, match="more than 7 bytes"):
        read_input(file, 7)


def test_a_fingerprint_is_the_digest_of_the_bytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"picture")
    (member,) = list_container(stat_file(str(tmp_path / "a.zip")), Counter())
    assert fingerprint(member, 7) == hashlib.sha256(b"picture").hexdigest()


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.parquet", "a.tfrecord"])
def test_a_container_that_is_not_there_is_one_input_with_the_problem(tmp_path, name):
    ((file,), ignored) = (list(list_container(stat_file(str(tmp_path / name)), Counter())), Counter())
    assert (file.uri, file.problem, file.member) == (str(tmp_path / name), "no such file or directory", None)
    assert not ignored


def test_local_files_and_archives_need_neither_beam_nor_tensorflow(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"picture")
    script = (
        "import sys\n"
        "from beam_pipeline.inputs.reader import PictureReader\n"
        "from beam_pipeline.inputs.sources import Listing, resolve_source\n"
        "print([PictureReader().read(file.uri) for file in Listing(resolve_source(sys.argv[1]))])\n"
        "print([name for name in ('apache_beam', 'tensorflow', 'pyarrow') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "*.zip")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[b'picture']\n[]\n"
