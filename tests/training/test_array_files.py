"""Files of arrays that a stranger made: nothing is unpickled, no other file is read, no memory is taken on a claim."""

import io
import os

import h5py
import numpy as np
import pytest

from training.array_files import parse_npz, require_plain_hdf5
from training.documents import Damaged


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def npz(save=np.savez, **arrays) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def test_arrays_come_back_by_name():
    arrays = parse_npz(npz(a=np.arange(3), b=np.ones([2, 2])), "x.npz", "mend it")
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}


def test_objects_are_not_unpickled(tmp_path):
    data = npz(a=np.array([Harmful(tmp_path / "harm")], dtype=object))
    with pytest.raises(Damaged, match=r"x\.npz: damaged .*; mend it"):
        parse_npz(data, "x.npz", "mend it")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "data",
    [
        npz(np.savez_compressed, a=np.zeros(1 << 20)),
        npz(a=np.zeros(4)).replace(b"(4,)", b"(9,)"),
        npz(a=np.array([np.nan])),
        npz(a=np.zeros(4))[:-30],
        b"",
        b"no zip",
    ],
    ids=["compressed", "claims", "nan", "cut", "empty", "text"],
)
def test_what_holds_less_than_it_says_is_refused(data):
    with pytest.raises(Damaged, match=r"x\.npz: damaged"):
        parse_npz(data, "x.npz", "mend it")


def _other_storage(file):
    file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize(
    "put",
    [
        lambda file: file.__setitem__("a", h5py.ExternalLink("other.h5", "/a")),
        lambda file: file.__setitem__("a", h5py.SoftLink("/b")),
        _other_storage,
        _virtual,
        lambda file: file.create_dataset("a", (1 << 40,), "f4", chunks=(1 << 10,)),
        lambda file: file.create_dataset("a", data="text", dtype=h5py.string_dtype()),
    ],
    ids=["link to a file", "link", "storage elsewhere", "virtual", "terabytes", "objects"],
)
def test_hdf5_that_leads_elsewhere_or_claims_memory_is_refused(tmp_path, put):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("group/b", data=np.ones(3))
    require_plain_hdf5(str(path), "x.h5", "mend it")
    with h5py.File(path, "a") as file:
        put(file)
    with pytest.raises(Damaged, match=r"x\.h5: damaged, or no file of weights .*; mend it"):
        require_plain_hdf5(str(path), "x.h5", "mend it")
