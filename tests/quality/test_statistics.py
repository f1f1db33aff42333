import numpy as np
import pytest
from helpers.phantoms import write_phantoms

from paxray_lib.data.datafile import SPLITS, read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.statistics import (
    label_table,
    overlap_matrix,
    overlap_table,
    position_table,
    split_table,
    tree_lines,
    unusual_table,
)
from paxray_lib.quality.survey import take_survey


@pytest.fixture(scope="module")
def survey(tiny):
    return take_survey(read_datafile(tiny))


@pytest.fixture(scope="module")
def stacks(tiny):
    # (N, L, H, W)
    return np.stack(
        [s.masks.unpack() for split in SPLITS for s in PaxrayDataset(tiny, split=split)]
    )


def test_tables_agree_with_the_masks(tiny, survey, stacks):
    splits = split_table([PaxrayDataset(tiny, split=split) for split in SPLITS])
    assert splits.loc["train"].tolist() == [8, 4, 4, 4, 0]
    table = label_table(survey)
    assert table["images"].tolist() == stacks.any((2, 3)).sum(0).tolist()
    assert table["frontal"].tolist() == stacks[::2].any((2, 3)).sum(0).tolist()
    np.testing.assert_allclose(table["area_percent"], 100 * stacks.mean((2, 3)).mean(0))


def test_positions_are_those_of_the_centroids(survey, stacks):
    rows = np.arange(48)[:, None] + 0.5
    lateral = stacks[1::2]
    centre = (lateral * rows).sum((2, 3)) / lateral.sum((2, 3)) / 48  # (n, L)
    table = position_table(survey, "lateral")
    np.testing.assert_allclose(table["row"], 100 * centre.mean(0), rtol=1e-5)
    np.testing.assert_allclose(table["row_sd"], 100 * centre.std(0), rtol=1e-3)
    assert table["images"].tolist() == [7] * 166


def test_overlaps_are_counted_over_all_images(survey, stacks):
    frontal = stacks[::2]
    matrix = overlap_matrix(survey, "frontal")
    expected = 100 * (frontal[:, 0] & frontal[:, 24]).sum() / frontal[:, 0].sum()
    assert matrix[0, 24] == pytest.approx(expected)
    table = overlap_table(survey, "frontal").set_index(["first", "second"])["overlap_percent"]
    assert table.loc[("lung_overall (0)", "bones (24)")] == pytest.approx(
        max(matrix[0, 24], matrix[24, 0])
    )
    assert ("lung_left (2)", "lung_left_vessel (9)") not in table.index  # a part
    assert ("ribs (54)", "rib_left_anterior_3 (123)") not in table.index  # a part of a part
    assert table.is_monotonic_decreasing


def test_an_unusual_image_comes_first(tmp_path):
    def only_the_top(case, view, image, masks):
        data = masks.data.copy()
        data[10:] = 0
        return image, PackedMasks(data, masks.labels) if (case, view) == (5, "lateral") else masks

    table = unusual_table(
        take_survey(read_datafile(write_phantoms(tmp_path / "data", change=only_the_top)))
    )
    assert len(table) == 24
    assert table["image"][0] == "images/case005lateral.png"
    assert table["z"].abs().is_monotonic_decreasing
    assert (table["value"][0] < table["usual"][0]) == (table["z"][0] < 0)


def test_tree_lists_every_label_below_its_first_parent(tiny):
    labels = PaxrayDataset(tiny).labels
    lines = tree_lines(labels)
    assert len(lines) == len(labels)
    position = {line.strip(): i for i, line in enumerate(lines)}
    assert position["lung_left (2)"] < position["lung_left_lobeupper (3)"]
    assert lines[position["rib_left_anterior_3 (123)"]].startswith("    " * 4)
