"""Files of probabilities that are damaged or lie."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.probabilities import Probabilities
from paxray_lib.viewer.widget import LabelViewer

VALUES = np.random.default_rng(0).integers(0, 256, (2, 6, 5), np.uint8)


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


SOUND = npz(probabilities=VALUES, labels=np.array(["heart", "aorta"]))


def member(name, content, claims=None):
    """Return a file in which one member has other content, and may claim another size."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(SOUND)) as old, zipfile.ZipFile(stream, "w") as new:
        for other in old.namelist():
            new.writestr(other, content if other == name else old.read(other))
        if claims:
            new.getinfo(name).file_size = claims
    return stream.getvalue()


def npy(shape, descr="|u1", data=b""):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


BAD = {
    "empty": b"",
    "text": b"heart 0.5\n",
    "cut short": SOUND[:-40],
    "no labels": npz(probabilities=VALUES),
    "no probabilities": npz(labels=np.array(["heart", "aorta"])),
    "another array": npz(probabilities=VALUES, labels=np.array(["heart", "aorta"]), x=VALUES),
    "other labels": npz(probabilities=VALUES, labels=np.array(["heart"])),
    "labels of numbers": npz(probabilities=VALUES, labels=np.array([1, 2])),
    "labels of nothing": npz(probabilities=VALUES, labels=np.array(["heart", ""])),
    "labels with a line end": npz(probabilities=VALUES, labels=np.array(["heart", "a\nb"])),
    "sixteen bits": npz(probabilities=VALUES.astype(np.uint16), labels=np.array(["heart", "x"])),
    "fractions": npz(probabilities=VALUES / 255, labels=np.array(["heart", "aorta"])),
    "one plane": npz(probabilities=VALUES[0], labels=np.array(["heart", "aorta"])),
    "no pixels": npz(probabilities=VALUES[:, :0], labels=np.array(["heart", "aorta"])),
    "objects": member("labels.npy", npy((2,), "|O", b"x" * 16)),
    "shape of terabytes": member("probabilities.npy", npy((2, 10**6, 10**6))),
    "negative shape": member("probabilities.npy", npy((2, -6, -5), data=VALUES.tobytes())),
    "size of terabytes": member("probabilities.npy", npy((2, 6, 5)), 1 << 42),
    "characters that are none": member("labels.npy", npy((2,), "<U1", b"\xff" * 8)),
}


@pytest.mark.parametrize("content", [pytest.param(data, id=name) for name, data in BAD.items()])
def test_each_is_an_error_that_names_the_file(content, tmp_path):
    path = tmp_path / "x.probabilities.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.probabilities\.npz: ") as error:
        Probabilities.read(path)
    assert len(str(error.value)) < 600
    assert str(error.value).endswith("predict again, or remove it")


def test_a_changed_byte_is_an_error_or_changes_nothing(tmp_path):
    path = tmp_path / "x.probabilities.npz"
    errors = 0
    for place in range(len(SOUND)):
        path.write_bytes(SOUND[:place] + bytes([SOUND[place] ^ 0xFF]) + SOUND[place + 1 :])
        try:
            read = Probabilities.read(path)
        except ValueError as error:
            assert "x.probabilities.npz: " in str(error)  # noqa: PT017
            errors += 1
        else:
            np.testing.assert_array_equal(read.values, VALUES)
            assert read.labels == LabelSet(["heart", "aorta"])
    assert errors > len(SOUND) / 3


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file(make, tmp_path):
    make(tmp_path / "x.probabilities.npz")
    with pytest.raises(ValueError, match=r"x\.probabilities\.npz: a (folder|named pipe)"):
        Probabilities.read(tmp_path / "x.probabilities.npz")


def test_those_of_labels_that_no_mask_has_are_refused():
    other = Probabilities(VALUES, LabelSet(["heart", "spleen"]))
    masks = np.zeros((2, 8, 8), bool)
    with pytest.raises(ValueError, match="probabilities of 'spleen', which no mask has"):
        LabelViewer(
            np.zeros((8, 8), np.uint8),
            masks,
            labels=LabelSet(["heart", "aorta"]),
            probabilities=other,
        )
