from pathlib import Path

import pytest

from paxray_lib.utils.errors import check_choice, did_you_mean, naming_errors


@pytest.mark.parametrize(
    ("word", "tail"),
    [
        ("hart", "; did you mean 'heart'?"),
        ("heart_", "; did you mean 'heart'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word, tail):
    assert did_you_mean(word, ["heart", "aorta", "heart"]) == tail


def test_did_you_mean_lists_the_nearest_first():
    assert did_you_mean("rib_left_1", ["rib_left_2", "rib_left_12"]).startswith(
        "; did you mean 'rib_left_12' or"
    )


def test_a_choice_is_one_of_those_named():
    check_choice("dice", {"dice": 1, "iou": 2}, "score")
    with pytest.raises(ValueError, match=r"score 'dise'.*'dice'.*dice, iou"):
        check_choice("dise", {"dice": 1, "iou": 2}, "score")


def test_errors_of_decoders_name_the_file_but_memory_that_ends_does_not_blame_it():
    named = naming_errors(Path("x.png"), "damaged")
    with pytest.raises(ValueError, match=r"x.png: damaged \(bad\); "), named:
        raise RuntimeError("bad")
    with pytest.raises(MemoryError), naming_errors(Path("x.png"), "damaged"):
        raise MemoryError


def test_naming_errors_names_file_and_remedy_but_no_lack_of_memory(tmp_path):
    with (
        pytest.raises(ValueError, match=r"x\.npz: not readable \(bad data\); evaluate again"),
        naming_errors(tmp_path / "x.npz", "not readable", "evaluate again"),
    ):
        raise OverflowError("bad\ndata")
    with pytest.raises(MemoryError), naming_errors(tmp_path / "x", "damaged"):
        raise MemoryError
