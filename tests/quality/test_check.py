import json
import os

import numpy as np
import pytest
from helpers.datafiles import rewrite
from helpers.phantoms import exchange, renamed, write_phantoms
from helpers.sampledata import write_tiny
from PIL import Image

from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.check import check_dataset


@pytest.fixture
def data(tmp_path):
    write_tiny(tmp_path)
    return tmp_path


def change_masks(path, change):
    stack = PackedMasks.read(path).unpack()
    change(stack)
    PackedMasks.pack(stack, LABELS).write(path)


def found(root, severity="error"):
    return [(f.where, f.message) for f in check_dataset(root) if f.severity == severity]


def test_clean_data_have_no_finding(tiny):
    assert check_dataset(tiny) == []


def test_all_findings_come_at_once(data):
    labels = data / "labels"
    (data / "images/case000frontal.png").unlink()
    (data / "images/case000lateral.png").write_text("no image")
    (labels / "case001frontal.pxm").unlink()
    (labels / "case001lateral.pxm").write_bytes((labels / "case001lateral.pxm").read_bytes()[:-9])
    PackedMasks.read(labels / "case002frontal.pxm").resize(20, 30).write(
        labels / "case002frontal.pxm"
    )
    rewrite(
        data, lambda c: (c["val"].append(c["train"][0]), c["val"].append({"image": "images/x.png"}))
    )
    errors = dict(found(data))
    assert "listed 2 times" in errors["images/case000frontal.png"]
    assert "case000" in errors
    assert "not" in errors["images/case000lateral.png"]
    assert "no such" in errors["labels/case001frontal.pxm"]
    assert "cut short" in errors["labels/case001lateral.pxm"]
    assert "(20, 30)" in errors["labels/case002frontal.pxm"]
    warnings = found(data, "warning")
    assert ("images/x.png", "no target in split 'val'") in warnings
    assert any("unknown view" in message for _, message in warnings)


def test_messages_name_the_file_once(data):
    (data / "labels/case001frontal.pxm").write_bytes(b"")
    ((where, message),) = found(data)
    assert where not in message
    assert str(data) not in message


@pytest.mark.parametrize("place", [10, 60, 70, 90])
def test_a_damaged_header_is_a_finding(tmp_path, place):
    write_tiny(tmp_path, suffix=".npy")
    path = tmp_path / "labels/case000frontal.npy"
    damaged = bytearray(path.read_bytes())
    damaged[place] = ord("[")
    path.write_bytes(damaged)
    ((where, message),) = found(tmp_path)
    assert where == "labels/case000frontal.npy"
    assert "not a readable .npy stack" in message


def test_a_stack_of_other_values_or_labels(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    path = tmp_path / "labels/case000frontal.npy"
    np.save(path, np.load(path).astype(np.uint8) * 255)
    np.save(tmp_path / "labels/case000lateral.npy", np.zeros((159, 48, 48), bool))
    errors = dict(found(tmp_path))
    assert "255" in errors["labels/case000frontal.npy"]
    assert "159" in errors["labels/case000lateral.npy"]


def test_labels_that_never_occur_and_empty_stacks_are_warned_of(data):
    for path in (data / "labels").glob("*.pxm"):
        change_masks(path, lambda stack: stack[LABELS.index("c1")[0]].fill(False))
    change_masks(data / "labels/case003lateral.pxm", lambda stack: stack.fill(False))
    messages = dict(found(data, "warning"))
    assert "c1 (26)" in messages["labels"]
    assert messages["labels/case003lateral.pxm"] == "every mask is empty"


def test_a_child_outside_its_parent_is_found(data):
    lung, lobe = LABELS.index("lung_left")[0], LABELS.index("lung_left_lobeupper")[0]

    def add_corner(stack):
        stack[lobe, 0, 0], stack[lung, 0, 0] = True, False

    change_masks(data / "labels/case000frontal.pxm", add_corner)
    ((where, message),) = found(data, "warning")
    assert where == f"lung_left_lobeupper ({lobe})"
    assert "lung_left (2)" in message
    assert "1 of 14" in message
    for path in (data / "labels").glob("*.pxm"):
        change_masks(path, lambda stack: stack[lung].fill(False))
    assert dict(found(data, "error"))[f"lung_left_lobeupper ({lobe})"].startswith("100.0% of its")
    content = json.loads((data / "paxray.json").read_text())
    content["known"] = [name for name in LABELS if name != "lung_left"]
    (data / "paxray.json").write_text(json.dumps(content))
    assert f"lung_left_lobeupper ({lobe})" not in dict(found(data, "error"))


def test_a_stack_newer_than_its_packed_file_is_warned_of(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    path = tmp_path / "labels/case000frontal.npy"
    PackedMasks.read(path).write(path.with_suffix(".pxm"))
    os.utime(path, (0, path.stat().st_mtime + 10))
    assert "paxray pack" in dict(found(tmp_path, "warning"))["labels/case000frontal.npy"]


def test_a_picture_of_one_value_is_an_error(data):
    Image.fromarray(np.full((48, 48), 255, np.uint8)).save(data / "images/case000frontal.png")
    assert "every pixel has one value" in dict(found(data))["images/case000frontal.png"]


def test_many_findings_of_one_cause_are_one(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    for path in [*tmp_path.glob("images/*"), *tmp_path.glob("labels/*")]:
        path.rename(path.with_name(path.name.replace("frontal", "_a").replace("lateral", "_b")))
    text = (tmp_path / "paxray.json").read_text().replace("frontal", "_a").replace("lateral", "_b")
    (tmp_path / "paxray.json").write_text(
        text.replace('"view": "_a"', '"x": 0').replace('"view": "_b"', '"x": 0')
    )
    for path in tmp_path.glob("labels/case00[0-3]_a.npy"):
        PackedMasks.read(path).write(path.with_suffix(".pxm"))
        os.utime(path, (0, path.stat().st_mtime + 10))
    warnings = found(tmp_path, "warning")
    assert len(warnings) == 2
    where, message = next(warning for warning in warnings if "unknown view" in warning[1])
    assert where == "images/case000_a.png"
    assert message.endswith("(14 such, also images/case000_b.png, images/case001_a.png, ...)")
    (message,) = (message for _, message in warnings if "paxray pack" in message)
    assert message.endswith("(4 such, also labels/case001_a.npy, labels/case002_a.npy, ...)")


def test_a_few_damaged_files_are_all_named_and_many_are_one_finding(data):
    paths = sorted((data / "images").glob("*.png"))
    for path in paths[:10]:
        path.unlink()
    assert len(found(data)) == 10
    paths[10].unlink()
    ((where, message),) = found(data)
    assert where == "images/case000frontal.png"
    assert "no such file" in message
    assert "(11 such, also images/case000lateral.png, images/case001frontal.png, ...)" in message


def test_labels_are_never_gathered(data):
    for path in (data / "labels").glob("*.pxm"):
        change_masks(path, lambda stack: stack.__setitem__(slice(None), stack[::-1].copy()))
    errors = found(data)
    assert len(errors) > 20
    assert not any("such, also" in message for _, message in errors)


def test_what_the_audit_finds_is_among_the_findings(tmp_path):
    order = exchange("lung_left", "lung_right")
    write_phantoms(tmp_path / "x", change=lambda c, v, image, masks: (image, renamed(masks, order)))
    assert any(
        "lung_left (2) fits the name lung_right" in message for _, message in found(tmp_path / "x")
    )


def test_a_datafile_that_cannot_be_read_raises(data):
    (data / "paxray.json").write_text(json.dumps({"label_dict": {}}))
    with pytest.raises(ValueError, match=r"paxray\.json"):
        check_dataset(data)
