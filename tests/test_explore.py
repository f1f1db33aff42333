import numpy as np

from paxray_lib.dataset import SPLITS, PaxrayDataset
from paxray_lib.explore import area_table, label_table, mean_masks, split_table, thresholded_mean, tree_lines


def test_tables_agree_with_the_masks(tiny):
    datasets = [PaxrayDataset(tiny, split=split) for split in SPLITS]
    splits = split_table(datasets)
    assert splits.loc["train"].tolist() == [8, 4, 4, 4, 0]
    areas = area_table(datasets)
    stacks = np.stack([s.masks.unpack() for d in datasets for s in d])  # (N, L, H, W)
    np.testing.assert_allclose(areas[list(range(166))].to_numpy(), stacks.mean((2, 3)))
    table = label_table(areas, datasets[0].labels)
    assert table["images"].tolist() == stacks.any((2, 3)).sum(0).tolist()
    assert table["frontal"].tolist() == stacks[::2].any((2, 3)).sum(0).tolist()
    np.testing.assert_allclose(table["area_percent"], 100 * stacks.mean((2, 3)).mean(0))


def test_mean_masks_of_one_view(tiny):
    train = PaxrayDataset(tiny, split="train")
    expected = np.mean([s.masks.resize(16, 16).unpack() for s in train if s.view == "lateral"], axis=0)
    np.testing.assert_allclose(mean_masks(train, "lateral", 16), expected, rtol=1e-6)
    np.testing.assert_array_equal(thresholded_mean(train, "lateral", 16).unpack(), expected > 0.5)


def test_tree_lists_every_label_below_its_first_parent(tiny):
    labels = PaxrayDataset(tiny).labels
    lines = tree_lines(labels)
    assert len(lines) == len(labels)
    position = {line.strip(): i for i, line in enumerate(lines)}
    assert position["lung_left (2)"] < position["lung_left_lobeupper (3)"]
    assert lines[position["rib_left_anterior_3 (123)"]].startswith("    " * 4)
