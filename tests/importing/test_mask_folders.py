import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.common import import_dataset
from paxray_lib.importing.mask_folders import mask_folders

NAMES = ("left_lung", "heart")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def folder(tmp_path):
    """Five images of 12 x 10, with antialiased masks of two structures."""
    rng = np.random.default_rng(0)
    for i in range(5):
        save(tmp_path / f"images/p{i}.png", rng.integers(0, 255, (12, 10), np.uint8))
        for name in NAMES:
            values = rng.choice(np.array([0, 100, 127, 128, 200, 255], np.uint8), (12, 10))
            save(tmp_path / name / f"p{i}_mask.png", values)
    rows = "\n".join(f"p{i}.png,{'train' if i < 3 else 'val'}" for i in range(5))
    (tmp_path / "split.csv").write_text(f"id,split,other\n{rows}\n")
    return tmp_path


def source(folder, ignore=None):
    return mask_folders(folder / "images", [(name, folder / name) for name in NAMES], ignore)


def bring(folder, ignore=None, **settings):
    settings = {"splits": folder / "split.csv"} | settings
    return import_dataset(source(folder, ignore), folder / "out", **settings)


def paxray(command, code=0):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, command)))
    assert result.exit_code == code, result.output
    return result.output


def test_masks_are_cut_at_half_and_images_are_copied(folder):
    done = bring(folder)
    assert (dict(done.counts), done.failed, done.notes) == ({"ok": 5}, [], [])
    data = read_datafile(folder / "out")
    assert data.labels.names == NAMES
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [3, 2, 0]
    for split in ("train", "val"):
        for entry, sample in zip(
            data.splits[split], PaxrayDataset(folder / "out", split=split), strict=True
        ):
            assert sample.masks.known.all()
            image = folder / entry.image
            assert (folder / "out" / entry.image).read_bytes() == image.read_bytes()
            for name, mask in zip(NAMES, sample.masks.unpack(), strict=True):
                drawn = np.asarray(Image.open(folder / name / f"{image.stem}_mask.png"))
                assert mask.tolist() == [[int(v) * 2 > 255 for v in row] for row in drawn]


def test_what_is_done_from_the_same_source_is_skipped(folder):
    bring(folder)
    written = {p: p.stat().st_mtime_ns for p in (folder / "out/labels").iterdir()}
    text = (folder / "out/paxray.json").read_text()
    save(folder / "heart/p1_mask.png", np.full((12, 10), 255, np.uint8))
    (folder / "out/images/p3.png").unlink()
    assert dict(bring(folder).counts) == {"ok": 2, "skipped": 3}
    again = {p.stem for p in written if p.stat().st_mtime_ns != written[p]}
    assert again == {"p1", "p3"}
    assert (folder / "out/paxray.json").read_text() == text
    assert PaxrayDataset(folder / "out").masks(1).unpack("heart").all()


def test_a_missing_mask_and_one_to_ignore_make_a_label_unknown(folder):
    (folder / "heart/p0_mask.png").unlink()
    values = np.zeros((12, 10), np.uint8)
    values[3, 3], values[5:] = 90, 255
    save(folder / "left_lung/p1_mask.png", values)
    for _ in range(2):  # made, and skipped
        done = bring(folder, ignore=90)
        assert done.notes == ["heart: not known in 1 images", "left_lung: not known in 1 images"]
    known = [masks.known.tolist() for masks in map(PaxrayDataset(folder / "out").masks, range(3))]
    assert known == [[True, False], [False, True], [True, True]]


def test_nothing_is_known_where_all_masks_have_pixels_to_ignore(folder):
    for name in NAMES:
        save(folder / name / "p0_mask.png", np.full((12, 10), 90, np.uint8))
    assert dict(bring(folder, ignore=90).counts) == {"ok": 5}
    masks = PaxrayDataset(folder / "out").masks(0)
    assert not masks.known.any()
    assert not masks.data.any()


def test_known_labels_of_all_and_of_one(folder):
    (folder / "heart/p0_mask.png").unlink()
    bring(folder, known=["heart"])
    data = read_datafile(folder / "out")
    assert data.extra["known"] == ["heart"]
    assert [data.known(entry).tolist() for entry in data.splits["train"]] == [
        [False, False],
        [False, True],
        [False, True],
    ]


def test_bad_items_are_listed_and_left_out(folder):
    (folder / "images/p0.png").write_bytes((folder / "images/p0.png").read_bytes()[:50])
    mask = folder / "heart/p1_mask.png"
    mask.write_bytes(mask.read_bytes()[:60])
    save(folder / "heart/p2_mask.png", np.zeros((12, 11), np.uint8))
    save(folder / "images/p9.png", np.eye(9, dtype=np.uint8))
    save(folder / "heart/p8.png", np.eye(9, dtype=np.uint8))
    masks = (f"--mask={name}={folder / name}" for name in NAMES)
    command = ["import", "masks", "--images", folder / "images", *masks, "--out", folder / "out"]
    output = paxray([*command, "--splits", folder / "split.csv"], 1)
    assert "2 imported, 0 skipped, 5 failed" in output
    for name in ("images/p0.png", "heart/p1_mask.png", "heart/p2_mask.png", "p9.png", "p8.png"):
        assert f"failed: {folder}" in output
        assert name in output
    content = json.loads((folder / "out/paxray.json").read_text())
    assert [content[name] for name in ("train", "test")] == [[], []]
    assert [item["image"] for item in content["val"]] == ["images/p3.png", "images/p4.png"]


def test_masks_of_other_size_are_resized_if_they_have_the_proportions(folder):
    mask = np.zeros((6, 5), np.uint8)
    mask[2, 1] = 1  # and its largest value is the full one
    for name in NAMES:
        save(folder / name / "p0_mask.png", mask)
    bring(folder)
    masks = PaxrayDataset(folder / "out").masks(0).unpack("heart")[0]
    assert np.argwhere(masks).tolist() == [[4, 2], [4, 3], [5, 2], [5, 3]]


def test_gif_and_one_bit_masks(folder):
    values = np.zeros((12, 10), np.uint8)
    values[2:5] = 255
    for name, suffix in zip(NAMES, (".gif", ".png"), strict=True):
        (folder / name / "p0_mask.png").unlink()
        Image.fromarray(values).convert("1").save(folder / name / f"p0{suffix}")
    bring(folder)
    masks = PaxrayDataset(folder / "out").masks(0)
    assert (masks.unpack() == (values > 0)).all()


def test_values_that_could_mean_anything_are_refused(folder):
    save(folder / "heart/p0_mask.png", np.full((12, 10), 100, np.uint8))
    color = np.zeros((12, 10, 3), np.uint8)
    color[..., 1] = 255
    save(folder / "heart/p1_mask.png", color)
    done = bring(folder)
    assert "largest value is 100" in done.failed[0]
    assert "in color" in done.failed[1]


def test_splits(folder):
    with pytest.raises(ValueError, match="none of 5 images has a split"):
        bring(folder, splits=None)
    with pytest.raises(ValueError, match=r"split 'tset'.*'test'"):
        bring(folder, splits=None, split="tset")
    (folder / "split.csv").write_text("id,split\np0,train\n")
    done = bring(folder)
    assert done.counts == {"ok": 1, "failed": 4}
    assert "p1: in no split" in done.failed[0]
    done = bring(folder, split="test")
    assert done.counts == {"ok": 4, "skipped": 1}


def test_other_data_is_not_written_over(folder):
    bring(folder)
    (folder / "split.csv").write_text("id,split\nx,train\n")
    other = folder / "other"
    for name in NAMES:
        save(other / name / "x.png", np.full((9, 9), 255, np.uint8))
    save(other / "images/x.png", np.eye(9, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"lists images such as images/p0\.png"):
        import_dataset(source(other), folder / "out", split="test")
    (other / "out/images").mkdir(parents=True)
    (other / "out/images/x.png").write_text("mine")
    done = import_dataset(source(other), other / "out", split="test")
    assert "is of another source" in done.failed[0]
    assert (other / "out/images/x.png").read_text() == "mine"


def test_wingspan(real_data, tmp_path):
    root = real_data / "wingspan"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    names = ("left_lung", "right_lung", "heart")
    masks = mask_folders(root / "images", [(name, root / name) for name in names], None)
    done = import_dataset(masks, tmp_path, splits=root / "split.csv")
    assert dict(done.counts) == {"ok": 259}
    for split, count in (("train", 140), ("val", 40), ("test", 79)):
        dataset = PaxrayDataset(tmp_path, split=split)
        assert len(dataset) == count
        for i in range(0, count, 10):
            for name, mask in zip(names, dataset.masks(i).unpack(), strict=True):
                picture = root / name / Path(dataset.entries[i].image).name
                assert (mask == np.asarray(Image.open(picture))).all()
