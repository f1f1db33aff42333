import json

import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.selection import choose_labels, mean_masks, open_splits, thresholded_mean
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks


def test_splits_without_images_are_left_out(tiny, tmp_path):
    content = json.loads((tiny / "paxray.json").read_text())
    entries = content.pop("train")
    (tmp_path / "paxray.json").write_text(json.dumps({**content, "val": [], "extra": entries[:1]}))
    splits = open_splits(tmp_path)
    assert {name: len(dataset) for name, dataset in splits.items()} == {"test": 4, "extra": 1}
    assert list(splits) == ["test", "extra"]
    (tmp_path / "paxray.json").write_text(json.dumps({**content, "val": [], "test": []}))
    with pytest.raises(ValueError, match=r"paxray\.json: no split has an image"):
        open_splits(tmp_path)


def test_wanted_labels_that_there_are_or_else_the_largest():
    labels = LabelSet(["a", "heart", "twice", "twice", "b"])
    stack = np.zeros((5, 4, 4), bool)
    for i, rows in enumerate((1, 0, 4, 3, 2)):
        stack[i, :rows] = True
    masks = [PackedMasks.pack(stack[:, :2], labels), PackedMasks.pack(stack, labels)]
    assert choose_labels(["tw*", "lung_left", "heart"], masks) == ["tw*", "heart"]
    assert choose_labels(["lung_left"], masks) == ["twice", "b", "a", "heart"]
    assert choose_labels(["rib_[0-9]*"], masks, count=1) == ["twice"]


def test_mean_masks_of_one_view(tiny):
    train = PaxrayDataset(tiny, split="train")
    expected = np.mean(
        [s.masks.resize(16, 16).unpack() for s in train if s.view == "lateral"], axis=0
    )
    np.testing.assert_allclose(mean_masks(train, "lateral", 16), expected, rtol=1e-6)
    np.testing.assert_array_equal(thresholded_mean(train, "lateral", 16).unpack(), expected > 0.5)
