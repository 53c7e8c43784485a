"""Arrays in files that a stranger may have made, npz and HDF5: nothing but arrays, bounded before memory is taken."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from training.documents import Damaged

_MOST_OBJECTS = 100_000  # in an HDF5 file
_BAD_NPZ = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,  # NotImplementedError is one
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def pack_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name -> content of a file that `parse_npz` reads."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def parse_npz(data: bytes, path: str, mend: str) -> dict[str, np.ndarray]:
    """Content of a file that `pack_npz` made -> its arrays by name; numbers are finite.

    Args:
      path: of the file, for messages.
      mend: what to do about a damaged file, as the end of the message.

    Raises:
      Damaged: it is not such a file, or would take more memory than it has bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > len(data):
                raise ValueError("it would take more memory than it has bytes")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except _BAD_NPZ as error:
        raise Damaged(path, f"damaged ({_one_line(error)})", mend) from error


def _array(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = read_header[version](stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"not as large as an array {dtype} {list(shape)}")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("a number in it is not finite")
    return array


def require_plain_hdf5(path: str, name: str, mend: str, room: int = 0) -> None:
    """Checks a local HDF5 file: it holds groups and arrays of numbers, whole and in itself.

    An array may claim any size without taking room in the file, and links and storage may lead to other files.

    Args:
      path: of the file.
      name: what to call it in messages.
      mend: what to do about a file that is something else, as the end of the message.
      room: bytes that an array may take in memory though it is smaller in the file, as compressed ones are.

    Raises:
      Damaged: it is something else.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _require_plain(file, room)
    except (ValueError, KeyError, OSError, RuntimeError, TypeError, RecursionError) as error:
        raise Damaged(name, f"damaged, or no file of weights ({_one_line(error)})", mend) from error


def _require_plain(file: Any, room: int) -> None:
    import h5py

    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ValueError(f"{key!r} is a link")
            entry = group[key]
            address = h5py.h5o.get_info(entry.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise ValueError("too many parts")
            if isinstance(entry, h5py.Group):
                waiting.append(entry)
            elif not isinstance(entry, h5py.Dataset) or entry.external or entry.is_virtual:
                raise ValueError(f"{key!r} is no array of this file")
            elif entry.dtype.kind not in "fiub" and entry.dtype.kind != "S":
                raise ValueError(f"{key!r} holds no numbers")
            elif entry.size and entry.nbytes > max(entry.id.get_storage_size(), room):
                raise ValueError(f"{key!r} is larger in memory than in the file")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
