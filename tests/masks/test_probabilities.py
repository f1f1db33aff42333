import numpy as np
import pytest

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.probabilities import Probabilities, probabilities_name

NAMES = LabelSet(["heart", "mediastinum_upper", "mediastinum_upper"])


@pytest.fixture
def made():
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    return Probabilities(values, NAMES)


def test_a_file_holds_them_and_numpy_alone_reads_it(made, tmp_path):
    path = tmp_path / "x.probabilities.npz"
    made.write(path)
    again = Probabilities.read(path)
    assert again.labels == NAMES
    np.testing.assert_array_equal(again.values, made.values)
    with np.load(path, allow_pickle=False) as file:
        assert file["labels"].tolist() == list(NAMES.names)
        np.testing.assert_array_equal(file["probabilities"], made.values)


def test_what_is_left_of_a_failed_write_is_nothing(made, tmp_path):
    with pytest.raises(ValueError, match=r"x\.npz: probabilities are files of \.probabilities"):
        made.write(tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values", [np.zeros((2, 5, 7), np.uint8), np.zeros((3, 5, 7)), np.zeros((3, 0, 7), np.uint8)]
)
def test_other_shapes_and_types_are_refused(values):
    with pytest.raises(ValueError, match=r"probabilities of 3 labels must be \(3, h, w\) uint8"):
        Probabilities(values, NAMES)


def test_reduced_they_are_means(made):
    even = Probabilities(np.repeat(np.repeat(made.values, 2, 1), 2, 2), NAMES)
    np.testing.assert_array_equal(even.reduced(0.5).values, made.values)
    assert made.reduced(0.01).values.shape == (3, 1, 1)


@pytest.mark.parametrize("suffix", [".pxm", ".npy", ".json", ".seg.dcm"])
def test_they_lie_beside_their_masks(suffix):
    assert probabilities_name(f"a.b/x.png{suffix}").as_posix() == "a.b/x.png.probabilities.npz"
