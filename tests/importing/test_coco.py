import json
from pathlib import Path

import numpy as np
import pytest
from helpers.sampledata import write_tiny
from PIL import Image
from pycocotools import mask as coco

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.coco import coco_source, sharded_source
from paxray_lib.importing.common import import_dataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks

SIZE = (12, 10)
CATEGORIES = [{"id": 7, "name": "heart"}, {"id": 2, "name": "lung"}, {"id": 9, "name": "lung"}]
# in the order of the ids
LABELS = ("lung", "heart", "lung")


def rle_of(mask, compressed=True):
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    if compressed:
        return {"size": list(mask.shape), "counts": rle["counts"].decode()}
    flat = np.concatenate(([0], mask.ravel("F").astype(int), [-1]))
    edges = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """train.json and val.json of two images each; annotations of an image are not adjacent."""
    rng = np.random.default_rng(0)
    masks = rng.random((4, 3, *SIZE)) > 0.6
    masks[1, 0] = False
    (tmp_path / "images/ü").mkdir(parents=True)
    for split, first in (("train", 0), ("val", 2)):
        numbers = range(first, first + 2)
        rows = [
            {"id": i, "file_name": f"ü/p{i}.png", "height": SIZE[0], "width": SIZE[1]}
            for i in numbers
        ]
        annotations = [
            {
                "image_id": i,
                "category_id": key,
                "segmentation": rle_of(masks[i, k], (i + k) % 2),
                "bbox": [0.0, 1e-3, 2, 3],
            }
            for k, key in enumerate((2, 7, 9))
            for i in numbers
            if masks[i, k].any()
        ]
        content = {"annotations": annotations, "info": "ü", "images": rows}
        write(tmp_path / f"{split}.json", content | {"categories": CATEGORIES})
        for i in numbers:
            pixels = rng.integers(0, 255, SIZE, np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/ü/p{i}.png")
    return tmp_path, masks


def bring(root, names=("train", "val"), **settings):
    source = coco_source([root / f"{name}.json" for name in names], root / "images")
    return import_dataset(source, root / "out", **settings)


def change(path, function):
    content = json.loads(path.read_text(encoding="utf-8"))
    function(content)
    write(path, content)


def test_masks_by_category_and_split(folder):
    root, masks = folder
    assert dict(bring(root).counts) == {"ok": 4}
    assert read_datafile(root / "out").labels.names == LABELS
    for split, first in (("train", 0), ("val", 2)):
        dataset = PaxrayDataset(root / "out", split=split)
        for k, sample in enumerate(dataset):
            assert sample.masks.known.all()
            assert (sample.masks.unpack() == masks[first + k]).all()
            assert dataset.entries[k].image == f"images/ü/p{first + k}.png"
    assert len(PaxrayDataset(root / "out", split="test")) == 0
    assert dict(bring(root).counts) == {"skipped": 4}


def test_an_image_is_made_again_if_its_annotations_change(folder):
    root, _ = folder
    bring(root)
    full = rle_of(np.ones(SIZE, bool))
    change(root / "val.json", lambda c: c["annotations"][0].update(segmentation=full))
    assert dict(bring(root).counts) == {"ok": 1, "skipped": 3}
    assert PaxrayDataset(root / "out", split="val").masks(0).counts()[0] == 120


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_polygons_are_drawn_as_pycocotools_does(folder):
    root, _ = folder
    polygons = [[1, 1, 8, 1.5, 6.25, 7, 1, 9], [-1, 9, 4, 9, 4, 14.0]]
    change(root / "val.json", lambda c: c["annotations"][0].update(segmentation=polygons))
    bring(root)
    drawn = coco.decode(coco.merge(coco.frPyObjects(polygons, *SIZE))).astype(bool)
    mask = PaxrayDataset(root / "out", split="val").masks(0).unpack()[0]
    assert (mask == drawn).all()
    assert 30 < mask.sum() < 80


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1e9, 0, 0, 1e9, 5, 5]], "far outside"),
        ([[float("nan"), 0, 0, 1, 5, 5]], "far outside"),
        ([[0, 0, 1, 1]], "three at least"),
        ([[0, 0, 1, 1, 2, 2, 3]], "three at least"),
        ([["a"] * 6], "no lists of numbers"),
        ([], "no lists of numbers"),
        ([[[0, 0], [1, 1], [2, 2]]], "no lists of numbers"),
        ([[0, 0, 20, 24] * 100_000], "outline of"),
        ({"size": [12, 11], "counts": [132]}, "size"),
        ({"size": [12, 10], "counts": "0"}, "do not add up"),
        ({"size": [12, 10]}, "counts"),
        (None, "not its masks"),
    ],
)
def test_masks_that_lie_fail_with_their_image(folder, segmentation, words):
    root, _ = folder
    change(root / "val.json", lambda c: c["annotations"][0].update(segmentation=segmentation))
    done = bring(root)
    assert dict(done.counts) == {"ok": 3, "failed": 1}
    assert "val.json: image ü/p2.png: not its masks" in done.failed[0]
    assert words in done.failed[0]


def test_bad_images_are_listed(folder):
    root, _ = folder
    (root / "images/ü/p0.png").unlink()
    change(root / "train.json", lambda c: c["images"][1].update(file_name="../p1.png"))
    change(root / "val.json", lambda c: c["images"].pop())
    done = bring(root)
    assert dict(done.counts) == {"ok": 1, "failed": 3}
    assert "3 annotations of images that it has not" in done.failed[0]
    assert "p0.png: no such file" in done.failed[1]
    assert "no path below" in done.failed[2]


def test_files_must_have_the_same_categories(folder):
    root, _ = folder
    change(root / "val.json", lambda c: c["categories"].pop())
    with pytest.raises(ValueError, match=r"val\.json: other categories than .*train\.json"):
        bring(root)


def test_the_name_of_a_file_is_its_split_unless_told(folder):
    root, _ = folder
    (root / "train.json").rename(root / "train_val.json")
    with pytest.raises(ValueError, match="none of 2 images has a split"):
        bring(root, ["train_val"])
    (root / "s.csv").write_text("id,split\np1,test\n")
    done = bring(root, ["train_val", "val"], splits=root / "s.csv", split="train")
    assert dict(done.counts) == {"ok": 4}
    splits = read_datafile(root / "out").splits
    assert [len(splits[name]) for name in ("train", "val", "test")] == [3, 0, 1]


def test_sharded(tmp_path):
    write_tiny(tmp_path / "tiny")
    data = read_datafile(tmp_path / "tiny")
    ids = {split: [Path(e.image).stem for e in part] for split, part in data.splits.items()}
    write(tmp_path / "s/index.json", {"format": "sharded_coco_v1", "splits": ids})
    names = [{"id": i, "name": name} for i, name in enumerate(data.labels)]
    write(tmp_path / "s/categories.json", {"categories": names[::-1]})
    (tmp_path / "s/images").symlink_to(tmp_path / "tiny/images")  # as its exporter makes them
    for stem in [stem for part in ids.values() for stem in part]:
        stack = PackedMasks.read(tmp_path / f"tiny/labels/{stem}.pxm").unpack()
        annotations = [
            {"category_id": i, "segmentation": rle_of(mask)}
            for i, mask in enumerate(stack)
            if mask.any()
        ]
        row = {"file_name": f"images/{stem}.png", "height": 48, "width": 48}
        path = tmp_path / f"s/annotations/{stem}.json"
        write(path, {"image": row | {"id": stem}, "annotations": annotations})
    out = tmp_path / "out"
    done = import_dataset(sharded_source(tmp_path / "s"), out)
    assert dict(done.counts) == {"ok": 14}
    assert read_datafile(out).splits == data.splits
    for split in ids:
        tiny, imported = (
            PaxrayDataset(tmp_path / "tiny", split=split),
            PaxrayDataset(out, split=split),
        )
        assert all(tiny.masks(i) == imported.masks(i) for i in range(len(tiny)))
    path.write_text(path.read_text()[:-1])
    done = import_dataset(sharded_source(tmp_path / "s"), out)
    assert dict(done.counts) == {"skipped": 13, "failed": 1}
    assert f"{path}: not an image in sharded COCO" in done.failed[0]


@pytest.mark.parametrize("kind", ["coco", "sharded"])
def test_what_the_authors_package_wrote_is_read_exactly(real_data, tmp_path, kind):
    root = real_data / "interop"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    truth = read_datafile(root, "source_paxray.json")
    files = [root / f"coco/annotations/{split}.json" for split in truth.splits]
    by_kind = {
        "coco": lambda: coco_source(files, root / "coco/images"),
        "sharded": lambda: sharded_source(root / "sharded"),
    }
    assert dict(import_dataset(by_kind[kind](), tmp_path).counts) == {"ok": 8}
    for split, entries in truth.splits.items():
        dataset = PaxrayDataset(tmp_path, split=split)
        assert dataset.labels == LabelSet(truth.labels)
        for i, entry in enumerate(entries):
            stem = Path(entry.image).stem
            assert dataset.masks(i) == PackedMasks.read(root / f"packed/{stem}.pxm")
