"""Arrays of a .npz file, read without trust: its sizes are known before memory goes for them."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import open_file

# 10,000 images of 166 labels take 150 MB, and no sum of so many pixels reaches 2 ** 48
_MAX_BYTES, _MAX_NUMBER = 1 << 30, 1 << 48


def read_arrays(
    path: Path, forms: Mapping[str, tuple[str, str]], remedy: str
) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file, of text and of numbers from 0 on, by their names.

    `forms` has for each known name the kinds of numpy's dtypes that it may have, and a letter for
    each dimension: those of one letter are of one size. `remedy` ends the message of an error.

    FileNotFoundError or ValueError, naming the file, if it is damaged, claims more than 1 GiB, has
    a name twice, or one that is not known, or an array of another form or beyond 2 ** 48.
    """
    with open_file(path) as file, naming_errors(path, "not readable", remedy):
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            unknown = members.keys() - {f"{name}.npy" for name in forms}
            if unknown or len(members) != len(archive.infolist()):
                raise ValueError(f"holds {sorted(unknown)[:3] or 'a name twice'}")
            if sum(member.file_size for member in members.values()) > _MAX_BYTES:
                raise ValueError(f"claims more than {_MAX_BYTES >> 30} GiB")
            arrays = {}
            for name, member in members.items():
                with archive.open(member) as stream:
                    arrays[name.removesuffix(".npy")] = _read_array(stream, member.file_size)
        _check(arrays, forms)
        return arrays


def _check(arrays: Mapping[str, np.ndarray], forms: Mapping[str, tuple[str, str]]) -> None:
    sizes: dict[str, int] = {}
    for name, values in arrays.items():
        kinds, letters = forms[name]
        wanted = [sizes.setdefault(*pair) for pair in zip(letters, values.shape, strict=False)]
        if (
            values.dtype.kind not in kinds
            or len(letters) != values.ndim
            or wanted != [*values.shape]
        ):
            raise ValueError(f"{name} is of type {values.dtype} and shape {values.shape}")
        if (
            values.dtype.kind in "iu"
            and values.size
            and not 0 <= values.min() <= values.max() < _MAX_NUMBER
        ):
            raise ValueError(f"{name} has a number that no sum of pixels can be")


def _read_array(stream: IO[bytes], size: int) -> np.ndarray:
    """Read a .npy file of `size` bytes, which its header must agree with."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # as numpy writes numbers and text
        raise ValueError(f"an array in version {version} of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in "biufU" or min(shape, default=0) < 0:
        raise ValueError(f"an array of type {dtype} and shape {shape}")
    data = stream.read()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} in {size} bytes")
    array = np.frombuffer(data, dtype).copy()
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
