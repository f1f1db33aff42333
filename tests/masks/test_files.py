"""Mask files: round trips, layout on disk, and files that are damaged, hostile or do not fit."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch
import zstandard
from helpers.maskfiles import SMALL, ZEROS, coco_content, write_pxm
from helpers.stacks import pack, some_labels, stacks
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

SUFFIXES = (".npy", ".pxm", ".json")


@pytest.fixture
def masks():
    return pack(np.random.default_rng(0).random((166, 9, 11)) < 0.3)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".NPY"])
@given(stack=stacks())
def test_round_trip(suffix, stack, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    labels = some_labels(len(stack))
    masks = pack(stack, labels)
    masks.write(path)
    back = PackedMasks.read(path, labels)
    assert back == masks
    back.data[:] = 0  # writable
    if suffix.lower() != ".npy":
        assert PackedMasks.read(path).labels == labels


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_data_goes_to_torch_without_a_warning(masks, tmp_path, suffix):
    masks.write(tmp_path / f"a{suffix}")
    data = torch.from_numpy(PackedMasks.read(tmp_path / f"a{suffix}").data)
    np.testing.assert_array_equal(data.numpy(), masks.data)


def test_npy_is_the_published_bool_stack(masks, tmp_path):
    masks.write(tmp_path / "a.npy")
    stack = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert stack.dtype == bool
    np.testing.assert_array_equal(stack, masks.unpack())
    np.save(tmp_path / "b.npy", np.asfortranarray(stack.astype(np.int64)))
    assert PackedMasks.read(tmp_path / "b.npy") == masks


def test_pxm_layout_is_as_documented(masks, tmp_path):
    masks.write(tmp_path / "a.pxm")
    content = (tmp_path / "a.pxm").read_bytes()
    magic, version, length = struct.unpack_from("<8sHI", content)
    header = json.loads(content[14 : 14 + length])
    body = content[14 + length : -4]
    assert (magic, version) == (b"PAXMASK\n", 1)
    assert header == {"shape": [166, 9, 11], "labels": list(LABELS.names), "body_bytes": len(body)}
    assert zstandard.decompress(body) == masks.data.tobytes()
    assert struct.unpack("<I", content[-4:])[0] == zlib.crc32(content[:-4])


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of pycocotools' own decode
def test_coco_is_what_pycocotools_reads(masks, tmp_path):
    masks.write(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert [c["name"] for c in content["categories"]] == list(LABELS.names)
    for annotation in content["annotations"]:
        plane = coco.decode(annotation["segmentation"]).astype(bool)
        np.testing.assert_array_equal(plane, masks.unpack()[annotation["category_id"]])
        assert annotation["area"] == plane.sum()


def test_coco_of_other_tools(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(coco_content([[1, 2, 3], [5, 1]], ids=(3, 17))))
    masks = PackedMasks.read(path)
    assert masks.labels.names == ("a", "b")
    # two instances: their union
    assert masks.unpack().tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 1]]]


def read_coco_of(plane, folder):
    """Read one mask that pycocotools encoded, through a file."""
    rle = coco.encode(np.asfortranarray(plane, np.uint8))
    height, width = plane.shape
    segmentation = {"size": [height, width], "counts": rle["counts"].decode()}
    content = {
        "images": [{"height": height, "width": width}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"category_id": 1, "segmentation": segmentation}],
    }
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return PackedMasks.read(path).unpack()[0]


@given(stack=stacks(st.just(1), side=60))
def test_coco_text_runs_are_those_of_pycocotools(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    np.testing.assert_array_equal(read_coco_of(stack[0], folder), stack[0])


def test_coco_text_runs_of_many_digits(tmp_path):
    plane = np.zeros((1000, 1500), np.uint8)
    plane[500:, 700:1490] = 1
    plane[3, :] = 1
    np.testing.assert_array_equal(read_coco_of(plane, tmp_path), plane)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1", "not a COCO RLE file"),
        ("[" * 100_000, "not a COCO RLE file"),
        ("{}", "'images' is missing"),
        ("[]", "not a COCO RLE file"),
        (coco_content([[1, 2]]), "do not add up to 2 x 3"),
        (coco_content([[1, 6, -1]]), "do not add up"),
        (coco_content(["0"]), "do not add up"),  # text that stops early
        (coco_content([""]), "not COCO's compressed text"),
        (coco_content(["oooooooo0"]), "not COCO's compressed text"),
        (coco_content(["o"]), "not COCO's compressed text"),
        (coco_content(["é"]), "ascii"),
        (coco_content([None]), "not a COCO RLE file"),
        (coco_content([], ids=(1, 1)), "two categories have the same id"),
        (coco_content([]) | {"images": [{}, {}]}, "2 images; split it"),
        (
            coco_content([]) | {"images": [{"height": 10**6, "width": 10**6}]},
            "claims 2 masks of 1000000 x 1000000",
        ),
        (coco_content([]) | {"images": [{"height": float("inf"), "width": 1}]}, "masks of inf x 1"),
        (
            coco_content([]) | {"annotations": [{"category_id": 5, "segmentation": {}}]},
            "5 is missing or unknown",
        ),
        (
            coco_content([]) | {"annotations": [{"category_id": 1, "segmentation": [[1, 2, 3]]}]},
            "a polygon without pairs of x and y",
        ),
        (
            coco_content([])
            | {
                "annotations": [{"category_id": 1, "segmentation": {"size": [3, 2], "counts": [6]}}]
            },
            r"size \[3, 2\] in an image of \[2, 3\]",
        ),
    ],
)
def test_bad_coco_files_say_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        PackedMasks.read(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_files_cut_short_or_of_other_content_never_pass(suffix, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    pack(np.ones((3, 4, 5))).write(path)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    path.write_bytes(
        data.draw(st.sampled_from([content[:cut], b"\0" + content[:cut], b"\xff" * cut]))
    )
    with pytest.raises(ValueError, match=r"cut short|not a|damaged|empty") as error:
        PackedMasks.read(path, some_labels(3))
    assert str(error.value).startswith(f"{path}: ")


@given(data=st.data())
def test_one_wrong_byte_in_a_packed_file_is_found(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "a.pxm"
    pack(np.eye(6)[None]).write(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"magic word|checksum"):
        PackedMasks.read(path)


@pytest.mark.parametrize(
    ("changes", "body", "message"),
    [
        ({"shape": [2, 2, 4]}, ZEROS, "does not hold 2 masks of 2 x 4"),
        ({"shape": [2, 2, 2]}, ZEROS, "does not hold 2 masks of 2 x 2"),
        ({"shape": [3, 2, 3]}, ZEROS, "3 masks with 2 names"),
        ({"shape": [2, 1 << 20, 1 << 20]}, ZEROS, "claims 2 masks of 1048576"),
        ({"shape": [2, -2, -3]}, ZEROS, "claims 2 masks of -2"),
        ({"shape": [2, 2, float("inf")]}, ZEROS, "damaged"),
        ({"shape": None}, ZEROS, "damaged"),
        ({"labels": [["a"], "b"]}, ZEROS, "damaged"),
        ({"labels": 3}, ZEROS, "damaged"),
        ({"body_bytes": 3}, ZEROS, "of 3 bytes"),
        ({}, b"x" * len(ZEROS), "damaged"),
        ({"body_bytes": len(ZEROS) - 1}, ZEROS[:-1], "does not hold"),
        (
            {"body_bytes": len(zstandard.compress(b"\xff" * 6))},
            zstandard.compress(b"\xff" * 6),
            "beyond label 1",
        ),
        # a frame of 256 MB of zeros takes 8 KB: it must not be unpacked to the end
        ({"body_bytes": len(bomb := zstandard.compress(bytes(1 << 28)))}, bomb, "does not hold"),
    ],
)
def test_hostile_packed_files(tmp_path, changes, body, message):
    path = tmp_path / "a.pxm"
    write_pxm(path, SMALL | changes, body)
    with pytest.raises(ValueError, match=message) as error:
        PackedMasks.read(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("header", [b"\xff\xfe", b"[]", b"{}", b"[" * 100_000])
def test_hostile_packed_headers(tmp_path, header):
    write_pxm(tmp_path / "a.pxm", header, ZEROS)
    with pytest.raises(ValueError, match=r"a.pxm: damaged packed mask file"):
        PackedMasks.read(tmp_path / "a.pxm")


def test_packed_file_of_a_later_version(tmp_path):
    write_pxm(tmp_path / "a.pxm", SMALL, ZEROS, version=2)
    with pytest.raises(ValueError, match="version 2, but this program reads version 1; update"):
        PackedMasks.read(tmp_path / "a.pxm")


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        (np.zeros((166, 4)), r"\(166, H, W\) of 0 and 1, got \(166, 4\) float64"),
        (np.zeros((166, 0, 4), bool), r"got \(166, 0, 4\) bool"),
        (np.zeros((166, 2, 2), complex), "complex128"),
        (np.full((166, 2, 2), "a"), "<U1"),
        (np.full((166, 2, 2), 255, np.uint8), "'lung_overall' holds 255, .*0/255"),
        (np.full((166, 2, 2), np.nan), "holds nan"),
        (np.full((166, 2, 2), -1), "holds -1"),
        (np.zeros((159, 2, 2), bool), "159 masks, but 166 labels .*; pass labels=, .* no names"),
    ],
)
def test_bad_npy_files_say_what_is_wrong(tmp_path, stack, message):
    path = tmp_path / "a.npy"
    np.save(path, stack)
    with pytest.raises(ValueError, match=message) as error:
        PackedMasks.read(path)
    assert str(error.value).startswith(f"{path}: ")


def test_npy_of_objects_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[{}]]], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a.npy: not a readable .npy stack"):
        PackedMasks.read(tmp_path / "a.npy")


def test_npz_under_the_name_npy(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((166, 2, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"not a readable .npy stack"):
        PackedMasks.read(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_must_have_the_expected_labels(masks, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    masks.write(path)
    with pytest.raises(ValueError, match="166 masks, but 3 labels are expected; wrong data file"):
        PackedMasks.read(path, some_labels(3))
    if suffix != ".npy":
        with pytest.raises(
            ValueError, match="label 0 is 'lung_overall' in the file but 'diaphragm' is expected"
        ):
            PackedMasks.read(path, LabelSet(["diaphragm", *LABELS.names[1:]]))


@pytest.mark.parametrize("name", ["a.tif", "a"])
def test_unknown_suffixes_list_the_known(masks, tmp_path, name):
    for action in (masks.write, PackedMasks.read):
        with pytest.raises(ValueError, match=r"\.npy, \.pxm, \.json.*, not"):
            action(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a.npy: no such file"):
        PackedMasks.read(tmp_path / "a.npy")
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(ValueError, match="a folder, but a file is needed"):
        PackedMasks.read(tmp_path / "a.npy")
