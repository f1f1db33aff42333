import csv

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.chexmask import chexmask_source
from paxray_lib.importing.common import import_dataset

HEADER = ["", "Image Index", "Dice RCA (Max)", "Dice RCA (Mean)", "Landmarks"]
HEADER += ["Left Lung", "Right Lung", "Heart", "Height", "Width"]


def runs_of(mask):
    """Run lengths "start length ...", from 1, row by row: the slow way."""
    runs, before = [], False
    for place, value in enumerate(mask.ravel(), 1):
        if value and not before:
            runs += [place, 0]
        if value:
            runs[-1] += 1
        before = value
    return " ".join(map(str, runs))


@pytest.fixture
def folder(tmp_path):
    """Four images, the last without a row; five rows, one without an image, one of low quality."""
    rng = np.random.default_rng(0)
    masks = rng.random((5, 3, 12, 10)) > 0.5
    masks[0, 2] = False
    (tmp_path / "images/b").mkdir(parents=True)
    for name in ("p0", "b/p1", "p2", "p9"):
        pixels = rng.integers(0, 255, (12, 10), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{name}.png")
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for i in range(4):
            row = [i, f"p{i}.png", 0.9, 0.6 if i == 2 else 0.8, "[[1 2]\n [3 4]]"]
            table.writerow([*row, *map(runs_of, masks[i]), 12, 10.0])
    return tmp_path, masks


def bring(root, **settings):
    source = chexmask_source(root / "t.csv", root / "images", **settings)
    return import_dataset(source, root / "out", split="test")


def change(root, old, new):
    text = (root / "t.csv").read_text(encoding="utf-8")
    assert old in text
    (root / "t.csv").write_text(text.replace(old, new, 1), encoding="utf-8")


def test_run_lengths_become_masks(folder):
    root, masks = folder
    done = bring(root, min_dice=0)
    assert dict(done.counts) == {"ok": 3}
    dataset = PaxrayDataset(root / "out", split="test")
    assert dataset.labels.names == ("Left Lung", "Right Lung", "Heart")
    assert [entry.image for entry in dataset.entries] == [
        "images/p0.png",
        "images/b/p1.png",
        "images/p2.png",
    ]
    for i in range(3):
        assert (dataset.masks(i).unpack() == masks[i]).all()
    assert dict(bring(root, min_dice=0).counts) == {"skipped": 3}


def test_what_is_left_out_is_counted(folder):
    root, _ = folder
    command = ["import", "chexmask", "--table", root / "t.csv", "--images", root / "images"]
    command += ["--out", root / "out", "--split", "test"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:3] == [
        "left out: 1 images, their Dice RCA (Mean) is less than 0.7",
        f"left out: 1 rows of {root}/t.csv, without an image in {root}/images",
        f"left out: 1 images, without a row in {root}/t.csv",
    ]
    assert result.stdout.splitlines()[3].startswith("2 imported, 0 skipped, 0 failed")


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ("p0.png,0.9,,", "could not convert"),
        ("p0.png,0.9,nan,", "a row without image or Dice"),
        ("p0.png,0.9,x,", "could not convert"),
        (",0.9,0.8,", "a row without image or Dice"),
    ],
)
def test_bad_rows_are_listed(folder, new, words):
    root, _ = folder
    change(root, "p0.png,0.9,0.8,", new)
    done = bring(root)
    assert dict(done.counts) == {"ok": 1, "failed": 1}
    assert words in done.failed[0]
    assert "t.csv: byte " in done.failed[0]


@pytest.mark.parametrize(
    "runs", ["1", "0 5", "-1 5", "1 121", "120 2", "1 x", f"1 {1 << 62}", "9" * 40, "1 2 3"]
)
def test_run_lengths_that_lie_fail_with_their_image(folder, runs):
    root, masks = folder
    change(root, runs_of(masks[1, 1]), runs)
    done = bring(root)
    assert dict(done.counts) == {"ok": 1, "failed": 1}
    assert "not masks of CheXmask" in done.failed[0]


def test_an_image_by_its_path_where_names_are_the_same(folder):
    root, _ = folder
    Image.fromarray(np.eye(12, 10, dtype=np.uint8)).save(root / "images/p1.png")
    change(root, "1,p1.png", "1,b/p1.png")
    assert dict(bring(root).counts) == {"ok": 2}
    change(root, "1,b/p1.png", "1,c/p1.png")
    (failed,) = chexmask_source(root / "t.csv", root / "images").failed
    assert "c/p1.png: several images have this name" in failed
