"""The training films of the open model: who is trained on, and who is only scored."""

import numpy as np
import pytest
from helpers.open_model import FOLDER, script
from PIL import Image

from paxray_lib.data.datafile import read_datafile

data = script("data")


def test_of_24_patients_eight_are_only_scored_and_none_is_in_both():
    rows = data.read_rows(FOLDER / "v7_split.csv")
    parts = {
        split: {row["patient"] for row in rows if row["split"] == split}
        for split in ("train", "test")
    }
    assert len(rows) == 43
    assert (len(parts["train"]), len(parts["test"])) == (16, 8)
    assert not parts["train"] & parts["test"]


def test_no_patient_of_a_possible_example_is_trained_on():
    rows = data.read_rows(FOLDER / "v7_split.csv")
    assert {row["split"] for row in rows if row["patient"] in data.EXAMPLES} == {"test"}


def test_the_split_is_that_of_its_seed(real_data, tmp_path):
    table = real_data / "v7_lungs/table.csv"
    if not table.is_file():
        pytest.skip(f"no {table}")
    data.write_split(table, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text() == (FOLDER / "v7_split.csv").read_text()


def test_films_are_frontal_have_their_patient_and_are_unknown_where_to_be_ignored(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "lungs").mkdir()
    rng = np.random.default_rng(0)
    for name, value in (("a", 255), ("b", 127)):
        mask = np.zeros((8, 8), np.uint8)
        mask[2:6, 2:6], mask[0, 0] = 255, value
        Image.fromarray(mask).save(tmp_path / f"lungs/{name}.png")
        film = rng.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(film).save(tmp_path / f"images/{name}.png")
    (tmp_path / "split.csv").write_text("id,split\na,train\nb,test\n")
    for _ in range(2):  # the second time all is there
        failed = data.import_films(
            tmp_path,
            {"lungs": "lungs"},
            tmp_path / "out",
            splits=tmp_path / "split.csv",
            ignore=127,
            patients={"a": "p1", "b": "p2"},
        )
        assert not failed
    made = read_datafile(tmp_path / "out")
    (a,), (b,) = made.splits["train"], made.splits["test"]
    assert [(e.case, e.view, e.known) for e in (a, b)] == [
        ("p1", "frontal", None),
        ("p2", "frontal", ()),
    ]
