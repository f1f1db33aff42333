import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.common import import_dataset
from paxray_lib.importing.multiclass import multiclass_source

CLASSES = {"0": "background", "1": "left_lung", "3": "heart", "10": "left_lung"}


def save_gray(path, values, depth):
    """Write a gray PNG of 1, 2, 4, 8 or 16 bits a pixel, whose samples are the values."""
    width = values.shape[1]
    bits = np.unpackbits(values.astype(">u2")[..., None].view(np.uint8), axis=2)[:, :, 16 - depth :]
    rows = np.packbits(bits.reshape(len(values), -1), axis=1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, len(values), depth, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, part in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
            checksum = struct.pack(">I", zlib.crc32(name + part))
            file.write(struct.pack(">I", len(part)) + name + part + checksum)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.choice([0, 1, 3, 10], (3, 9, 7))
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for i in range(3):
        pixels = rng.integers(0, 255, (9, 7), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/p{i}.png")
        save_gray(tmp_path / f"masks/p{i}.png", values[i], 8)
    rows = [{"image": f"images/p{i}.png", "target": f"masks/p{i}.png"} for i in range(3)]
    content = {"label_dict": CLASSES, "train": rows[:2], "val": [], "test": rows[2:]}
    (tmp_path / "splits.json").write_text(json.dumps(content))
    return tmp_path, values


def bring(root):
    return import_dataset(multiclass_source(root / "splits.json"), root / "out")


def check(root, values, split="train", index=0):
    masks = PaxrayDataset(root / "out", split=split).masks(index)
    assert masks.labels.names == ("left_lung", "heart", "left_lung")
    for mask, number in zip(masks.unpack(), (1, 3, 10), strict=True):
        assert (mask == (values == number)).all()


def test_the_value_of_a_pixel_is_its_class(folder):
    root, values = folder
    assert dict(bring(root).counts) == {"ok": 3}
    for split, index, i in (("train", 0, 0), ("train", 1, 1), ("test", 0, 2)):
        check(root, values[i], split, index)
    data = read_datafile(root / "out")
    assert [entry.image for entry in data.splits["train"]] == ["images/p0.png", "images/p1.png"]
    assert data.splits["val"] == ()
    assert dict(bring(root).counts) == {"skipped": 3}


@pytest.mark.parametrize("depth", [4, 16])
def test_gray_of_other_depths(folder, depth):
    root, values = folder
    save_gray(root / "masks/p0.png", values[0], depth)
    assert dict(bring(root).counts) == {"ok": 3}
    check(root, values[0])


def test_one_and_two_bits(folder):
    root, values = folder
    for i, depth in ((0, 1), (1, 2)):
        values[i] = np.where(values[i] > 3, 1, values[i] % 2**depth)
        save_gray(root / f"masks/p{i}.png", values[i], depth)
    bring(root)
    for i in range(2):
        check(root, values[i], index=i)


@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_are_read_by_index(folder, bits):
    root, values = folder
    picture = Image.fromarray(values[0].astype(np.uint8), mode=None).convert("L")
    palette = Image.new("P", picture.size)
    palette.putdata(values[0].ravel().tolist())
    palette.putpalette([v for i in range(16) for v in (200, 16 * i, 0)])
    palette.save(root / "masks/p0.png", bits=bits)
    assert dict(bring(root).counts) == {"ok": 3}
    check(root, values[0])


def test_bad_targets_are_listed(folder):
    root, values = folder
    save_gray(root / "masks/p0.png", np.where(values[0] == 3, 7, values[0]), 8)
    content = (root / "masks/p1.png").read_bytes()
    (root / "masks/p1.png").write_bytes(content[:-20])
    Image.fromarray(np.eye(9, 7, dtype=np.uint8)).save(root / "masks/p2.png", format="JPEG")
    done = bring(root)
    assert dict(done.counts) == {"failed": 3}
    assert "masks/p0.png: class 7 is not in label_dict" in done.failed[0]
    assert "masks/p1.png: damaged or cut short" in done.failed[1]
    assert "masks/p2.png: not a PNG" in done.failed[2]


def test_class_0_is_a_label_where_it_has_a_name(folder):
    root, values = folder
    content = json.loads((root / "splits.json").read_text())
    content["label_dict"]["0"] = "soft_tissue"
    (root / "splits.json").write_text(json.dumps(content))
    bring(root)
    masks = PaxrayDataset(root / "out").masks(0)
    assert masks.labels.names[0] == "soft_tissue"
    assert (masks.unpack()[0] == (values[0] == 0)).all()
