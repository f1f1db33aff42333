import json
import random
from unittest import mock

import pytest
from helpers.paxraypp import TAR, coco_file, file_names, masks_of, tar_of_images, write_archive

from paxray_lib.data.datafile import SPLITS, read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing import common
from paxray_lib.importing.paxraypp import fetch_paxraypp
from paxray_lib.quality.check import check_dataset


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "x.zip")


def the_authors_splits():
    """As he makes them: a list of images, shuffled, and nine tenths of it."""
    images = list(coco_file("train_val")["images"])
    random.Random(42).shuffle(images)
    count = round(0.9 * len(images))
    parts = {"train": images[:count], "val": images[count:], "test": coco_file("test")["images"]}
    return {split: {row["file_name"] for row in rows} for split, rows in parts.items()}


def test_an_archive_becomes_a_data_set_with_the_authors_splits(archive, tmp_path):
    done = fetch_paxraypp(tmp_path / "to", archive)
    assert dict(done.counts) == {"ok": 15}
    data = read_datafile(tmp_path / "to")
    assert data.labels.names == ("heart", "left lung", "left lung")
    for split, names in the_authors_splits().items():
        dataset = PaxrayDataset(tmp_path / "to", split=split)
        assert {entry.image for entry in dataset.entries} == {f"images/{name}" for name in names}
        for sample, entry in zip(dataset, dataset.entries, strict=True):
            name = entry.image.removeprefix("images/")
            assert (sample.masks.unpack() == masks_of(name)).all()
            assert sample.view in name
    assert len(data.splits["val"]) == 1
    assert "by image, not by patient" in done.notes[0]
    both = {finding.message for finding in check_dataset(tmp_path / "to")}
    assert both == {"the case is in the splits train and val; split by case"}
    assert json.loads((tmp_path / "to/fetched.json").read_text())["file"] == "x.zip"
    assert {path.name for path in tmp_path.iterdir()} == {"to", "x.zip"}
    with pytest.raises(FileExistsError, match="is there already"):
        fetch_paxraypp(tmp_path / "to", archive)


@pytest.mark.parametrize("prefix", ["images_patlas/", "images_patlas/images_patlas/", "a/"])
def test_images_may_stand_in_the_zip_itself(tmp_path, prefix):
    def change(content):
        del content[TAR]
        for part in ("train_val", "test"):
            for name in file_names(part):
                content[f"{prefix}{name}"] = b"no picture"

    write_archive(tmp_path / "x.zip", change)
    if prefix == "a/":
        with pytest.raises(ValueError, match="holds no folder images_patlas"):
            fetch_paxraypp(tmp_path / "to", tmp_path / "x.zip")
    else:
        done = fetch_paxraypp(tmp_path / "to", tmp_path / "x.zip")
        assert dict(done.counts) == {"failed": 15}
        assert "images_patlas/case_000_frontal.png: not a PNG" in done.failed[0]


@pytest.mark.parametrize("number", [1, 9])
def test_an_interrupted_one_goes_on(archive, tmp_path, number):
    draw, drawn = common._fitted, []

    def stops(*arguments):
        drawn.append(1)
        if len(drawn) == number:
            raise KeyboardInterrupt
        return draw(*arguments)

    with mock.patch.object(common, "_fitted", stops), pytest.raises(KeyboardInterrupt):
        fetch_paxraypp(tmp_path / "to", archive)
    assert len(list(tmp_path.glob(".to.*.source/images_patlas/*.png"))) == 16
    done = fetch_paxraypp(tmp_path / "to", archive)
    assert done.counts["skipped"] >= number - 1
    assert sum(done.counts.values()) == 15
    assert not done.counts["failed"]
    assert {path.name for path in tmp_path.iterdir()} == {"to", "x.zip"}
    assert sum(len(PaxrayDataset(tmp_path / "to", split=split)) for split in SPLITS) == 15


def test_a_tar_that_was_cut_off_is_unpacked_again(archive, tmp_path):
    unpacked = []

    def stops(*_):
        unpacked.append(1)
        raise KeyboardInterrupt

    with (
        mock.patch("paxray_lib.data.unpack_tar._blocks", stops),
        pytest.raises(KeyboardInterrupt),
    ):
        fetch_paxraypp(tmp_path / "to", archive)
    assert dict(fetch_paxraypp(tmp_path / "to", archive).counts) == {"ok": 15}


def test_the_target_is_looked_at_before_anything_is_done(archive, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/thesis.txt").touch()
    with pytest.raises(FileExistsError, match="is there already"):
        fetch_paxraypp(tmp_path / "to", archive)
    assert {path.name for path in tmp_path.iterdir()} == {"to", "x.zip"}


def test_images_that_are_not_there_are_listed(tmp_path):
    def change(content):
        rows = json.loads(content["paxray_test.json"])
        rows["images"][1]["file_name"] = "gone.png"
        content["paxray_test.json"] = json.dumps(rows).encode()
        content[TAR] = tar_of_images("notes.txt", "images_patlas/._x.png")

    done = fetch_paxraypp(tmp_path / "to", write_archive(tmp_path / "x.zip", change))
    assert dict(done.counts) == {"ok": 14, "failed": 1}
    assert "gone.png: no such file" in done.failed[0]
