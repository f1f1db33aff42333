"""Data sets away to COCO and back: equal bits, names, what is known; and what is refused."""

import json

import numpy as np
import pytest
from helpers.datafiles import rewrite
from helpers.sampledata import write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as pycoco
from pycocotools.coco import COCO

from paxray_lib.data.datafile import SPLITS, Entry, read_datafile, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.coco import coco_source
from paxray_lib.importing.coco_export import export_coco
from paxray_lib.importing.common import import_dataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools
TWICE = LabelSet(["heart", "mediastinum_upper", "lung", "mediastinum_upper"])


def write_set(root, masks):
    """Write a data set of one image for each of the masks, all in val."""
    entries = []
    (root / "images").mkdir(parents=True)
    for i, one in enumerate(masks):
        pixels = np.arange(one.shape[1] * one.shape[2]) % 251
        image = Image.fromarray(pixels.reshape(one.shape[1:]).astype(np.uint8))
        image.save(root / f"images/p{i}.png")
        one.write(root / f"labels/p{i}.pxm")
        entries.append(Entry(f"images/p{i}.png", f"labels/p{i}.pxm", f"p{i}", None))
    write_datafile(root / "paxray.json", masks[0].labels, {"val": entries})
    return root


def away_and_back(root, out, **options):
    """Export a data set, import it again; return the COCO files and the new data set's folder."""
    done = export_coco(root, "paxray.json", out / "coco", **options)
    assert not done.failed
    files = sorted((out / "coco").glob("*.json"))
    imported = import_dataset(coco_source(files, done.images), out / "back")
    assert not imported.failed
    return files, out / "back"


def masks_of(root):
    """{image: masks} of a data set."""
    sets = [PaxrayDataset(root, split=name) for name in read_datafile(root).splits]
    return {s.entries[i].image: s.masks(i) for s in sets for i in range(len(s))}


def check_with_pycocotools(path, masks):
    """Compare what pycocotools reads with the masks of a split, in order."""
    coco = COCO(path)
    for i, image in enumerate(coco.loadImgs(coco.getImgIds())):
        stack = np.zeros(masks[i].shape, bool)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            mask = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == mask.sum()
            stack[coco.getCatIds().index(annotation["category_id"])] |= mask
        assert (stack == masks[i].unpack()).all()


@pytest.mark.parametrize("polygons", [False, True])
def test_a_data_set_comes_back_as_it_was(tmp_path, polygons):
    root = write_tiny(tmp_path / "in").parent
    files, back = away_and_back(root, tmp_path, polygons=polygons)
    assert [file.stem for file in files] == sorted(SPLITS)
    assert masks_of(back) == masks_of(root)
    names = read_datafile(back).labels.names
    assert names == LABELS.names
    assert names.count("mediastinum_upper") == 2
    for split in SPLITS:
        own = PaxrayDataset(root, split=split)
        masks = [own.masks(i) for i in range(len(own))]
        check_with_pycocotools(tmp_path / f"coco/{split}.json", masks)


shapes = st.tuples(st.integers(1, 19), st.integers(2, 23))


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 99), st.floats(0, 1), st.booleans())
def test_any_masks_come_back(tmp_path_factory, shape, seed, share, polygons):
    rng = np.random.default_rng(seed)
    masks = [PackedMasks.pack(rng.random((4, *shape)) < share, TWICE) for _ in range(2)]
    folder = tmp_path_factory.mktemp("coco")
    files, back = away_and_back(write_set(folder / "in", masks), folder, polygons=polygons)
    assert list(masks_of(back).values()) == masks
    check_with_pycocotools(files[0], masks)


def real_size():
    """Masks of 512 x 512 of all 166 labels: ellipses, some with holes, one with dust."""
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:512, :512]
    stack = np.zeros((len(LABELS), 512, 512), bool)
    for i in range(len(LABELS)):
        (y, x), (height, width) = rng.uniform(-20, 530, 2), rng.uniform(3, 160, 2)
        distance = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2
        stack[i] = (distance < 1) & (distance > (0.2 if i % 4 == 0 else -1))
    stack[5] = rng.random((512, 512)) < 0.3
    return PackedMasks.pack(stack, LABELS)


@pytest.mark.parametrize("polygons", [False, True])
def test_real_size(tmp_path, polygons):
    masks = real_size()
    root = write_set(tmp_path / "in", [masks])
    files, back = away_and_back(root, tmp_path, polygons=polygons)
    assert masks_of(back) == masks_of(root)
    kinds = [type(a["segmentation"]) for a in json.loads(files[0].read_text())["annotations"]]
    assert (kinds.count(list) > 90) == polygons
    assert kinds.count(dict) > 20  # those with holes
    check_with_pycocotools(files[0], [masks])


def test_polygons_only_where_they_are_drawn_as_the_same_bits(tmp_path):
    stack = np.zeros((4, 9, 9), bool)
    stack[0, 2:7, 1:8] = True  # a box
    stack[1, 1:8, 1:8] = True
    stack[1, 3:5, 3:5] = False  # a hole
    stack[2, [1, 2, 7], [1, 2, 3]] = True  # pixels that touch by a corner, and one apart
    root = write_set(tmp_path / "in", [PackedMasks.pack(stack, TWICE)])
    done = export_coco(root, "paxray.json", tmp_path / "coco", polygons=True)
    assert done.counts == {"images": 1, "polygons": 2, "run lengths": 1}
    box, hole, _ = json.loads((tmp_path / "coco/val.json").read_text())["annotations"]
    assert sorted(zip(*[iter(box["segmentation"][0])] * 2, strict=True)) == [
        (1, 2), (1, 7), (8, 2), (8, 7)
    ]  # fmt: skip
    assert set(hole["segmentation"]) == {"size", "counts"}


def test_what_is_not_annotated_comes_back_as_such(tmp_path):
    root = write_tiny(tmp_path / "in").parent
    rewrite(root, lambda c: c["val"][0].update(known=["heart", "lung*"]))
    rewrite(root, lambda c: c["test"][0].update(known=[]))
    rewrite(root, lambda c: c["test"][1].update(target=None))
    done = export_coco(root, "paxray.json", tmp_path / "coco")
    assert done.counts["without masks"] == 1
    files = sorted((tmp_path / "coco").glob("*.json"))
    import_dataset(coco_source(files, done.images), tmp_path / "back")
    before = {name: masks for name, masks in masks_of(root).items() if masks is not None}
    after = masks_of(tmp_path / "back")
    assert after == before
    assert 0 < after["images/case004frontal.png"].known.sum() < 20
    rows = json.loads((tmp_path / "coco/val.json").read_text())
    rows["images"][0]["known"] = ["hart"]
    (tmp_path / "coco/val.json").write_text(json.dumps(rows))
    imported = import_dataset(coco_source(files, done.images), tmp_path / "back")
    assert len(imported.failed) == 1
    assert "'hart'" in imported.failed[0]


def test_what_cannot_be_exported_is_listed_and_nothing_is_written_over(tmp_path):
    root = write_tiny(tmp_path / "in").parent
    (root / "labels/case004frontal.pxm").write_bytes(b"PAXMASK\n")
    Image.linear_gradient("L").resize((24, 24)).save(root / "images/case004lateral.png")
    rewrite(root, lambda c: c["test"][0].update(image="../x.png"))
    done = export_coco(root, "paxray.json", tmp_path / "coco")
    words = ("../x.png", "case004frontal.pxm: damaged", r"48 x 48 do not fit")
    assert len(done.failed) == 3
    assert all(any(word in line for line in done.failed) for word in words)
    assert done.counts["images"] == 11
    with pytest.raises(ValueError, match=r"json: is there already"):
        export_coco(root, "paxray.json", tmp_path / "coco")


def test_the_name_of_a_file_below_the_common_folder(tmp_path):
    root = write_set(tmp_path / "in", [PackedMasks.pack(np.ones((4, 3, 3), bool), TWICE)])
    assert export_coco(root, "paxray.json", tmp_path / "coco").images == root / "images"
    content = json.loads((tmp_path / "coco/val.json").read_text())
    assert [row["file_name"] for row in content["images"]] == ["p0.png"]
    rle = content["annotations"][0]["segmentation"]
    assert pycoco.decode(rle).all()
