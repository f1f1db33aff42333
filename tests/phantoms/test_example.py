"""The sample that a lesson shows with its masks, with a data set and without."""

import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.phantoms.example import example_with_masks

FEW = LabelSet(["heart", "spleen"])


@pytest.mark.parametrize("index", [1, 1 + 4])
def test_it_is_of_the_test_split_where_there_is_one(tiny, index):
    sample, expected = (
        example_with_masks(tiny, "paxray.json", index, FEW),
        PaxrayDataset(tiny, split="test")[1],
    )
    assert (sample.name, sample.view) == (expected.name, expected.view)
    assert np.array_equal(sample.masks.unpack("heart"), expected.masks.unpack("heart"))
    assert sample.masks.known.tolist() == [True, False]


def test_it_is_a_phantom_where_there_is_none(tmp_path):
    lateral = example_with_masks(tmp_path / "none", "paxray.json", 1, LABELS)
    assert (lateral.name, lateral.view) == ("phantom0lateral", "lateral")
    assert lateral.image.shape == lateral.masks.shape[1:]
    assert 0.1 < lateral.image.mean() < 0.9
    assert lateral.masks.union("heart").any()


def test_a_damaged_data_set_is_an_error(tmp_path):
    (tmp_path / "paxray.json").write_text("{")
    with pytest.raises(ValueError, match=r"paxray\.json"):
        example_with_masks(tmp_path, "paxray.json", 0, LABELS)
