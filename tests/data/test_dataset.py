import numpy as np
import pytest
from helpers.datafiles import rewrite
from helpers.sampledata import write_tiny
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.datafile import Entry, read_datafile, write_datafile
from paxray_lib.data.dataset import EpochSampler, PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks


def test_reads_samples_with_case_and_view(tiny):
    dataset = PaxrayDataset(tiny, split="train")
    assert len(dataset) == 8
    sample = dataset[1]
    assert (sample.name, sample.case, sample.view) == ("case000lateral", "case000", "lateral")
    assert sample.image.shape == sample.masks.shape[1:] == (48, 48)
    assert sample.image.dtype == np.float32
    assert sample.masks.labels == LABELS
    with pytest.raises(IndexError):
        dataset[8]


def test_datafile_may_lie_elsewhere_and_keeps_unknown_keys(tiny, tmp_path):
    other = tmp_path / "mine.json"
    other.write_text((tiny / "paxray.json").read_text())
    data = read_datafile(tiny, other)
    assert data.extra == {"name": "tiny"}
    assert data.root == tiny


def test_write_then_read_is_the_same(tmp_path):
    train = (
        Entry("images/afrontal.png", None, "a", "frontal"),
        Entry("images/b.png", "labels/b.pxm", "patient 7", "lateral"),
        Entry("images/clateral.png", None, "c", None, known=("a",)),
        Entry("images/d.png", None, "d", None, known=()),
    )
    splits = {"train": train, "val": (), "test": ()}
    write_datafile(tmp_path / "x.json", LabelSet(["a", "b", "a"]), splits)
    data = read_datafile(tmp_path, "x.json")
    assert data.splits == splits
    assert data.labels.names == ("a", "b", "a")


def test_known_labels_are_those_of_the_file_and_of_items_in_its_place(tmp_path):
    write_tiny(tmp_path)

    def tell(content):
        content["known"] = ["heart", "lung_*", "vertebrae"]
        content["train"][1]["known"] = ["mediastinum_upper"]
        content["train"][2]["known"] = []

    whole = PaxrayDataset(tmp_path)
    rewrite(tmp_path, tell)
    dataset = PaxrayDataset(tmp_path)
    wanted = [LABELS.select("heart", "lung_*", "vertebrae"), [12, 16], []]
    for index, labels in enumerate(wanted):
        sample = dataset[index]
        assert np.flatnonzero(sample.masks.known).tolist() == sorted(labels)
        assert sample.masks == whole[index].masks.knowing(sample.masks.known)
    assert dataset.datafile.known(dataset.entries[3]).sum() == len(wanted[0])
    write_datafile(tmp_path / "again.json", LABELS, dataset.datafile.splits, dataset.datafile.extra)
    again = read_datafile(tmp_path, "again.json")
    assert (again.splits, again.extra) == (dataset.datafile.splits, dataset.datafile.extra)


@pytest.mark.parametrize(
    ("known", "problem"),
    [
        (["hart"], "did you mean 'heart'"),
        ("heart", "must be a list"),
        ([1], "must be a list"),
        ({"heart": True}, "must be a list"),
    ],
)
@pytest.mark.parametrize("item", [False, True])
def test_known_labels_must_be_labels(tmp_path, known, problem, item):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda c: (c["val"][1] if item else c).update(known=known))
    where = r"val\[1\]" if item else "the file"
    with pytest.raises(ValueError, match=f"{where} has in 'known'.*{problem}"):
        read_datafile(tmp_path)


def test_item_fields_replace_what_the_name_says(tmp_path):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda c: c["train"][0].update(view="lateral", case="other"))
    entry = read_datafile(tmp_path).splits["train"][0]
    assert (entry.view, entry.case) == ("lateral", "other")


def test_a_case_of_null_is_the_one_in_the_name(tmp_path):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda c: c["train"][0].update(case=None))
    assert read_datafile(tmp_path).splits["train"][0].case == "case000"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("label_dict"), "no 'label_dict'"),
        (lambda c: c["label_dict"].pop("7"), "7"),
        (lambda c: c["train"].__setitem__(2, "x.png"), r"train\[2\]"),
        (lambda c: c["val"][0].update(target=3), r"val\[0\].*target"),
        (lambda c: c["val"][0].update(view="oblique"), r"val\[0\].*oblique"),
        (lambda c: c.update(test="all"), "'test' must be a list"),
        (lambda c: [c.pop(k) for k in ("train", "val", "test")], "no split"),
    ],
)
def test_a_wrong_datafile_says_where(tmp_path, change, message):
    write_tiny(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(ValueError, match=message) as error:
        read_datafile(tmp_path)
    assert "paxray.json" in str(error.value)


def test_missing_and_broken_files_name_the_remedy(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'paxray sample .*/my_Sample'"):
        read_datafile(tmp_path / "my_Sample")
    for root in (tmp_path / "sample/paxray", tmp_path):  # missing, and empty
        with pytest.raises(
            FileNotFoundError, match=f"check the path; .*'paxray fetch dataset --to {root}'"
        ) as error:
            read_datafile(root)
        assert "paxray sample" not in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"the folder has paxray\.json"):
        read_datafile(tiny, "paxray_haf.json")
    (tmp_path / "paxray.json").write_text("{")
    with pytest.raises(ValueError, match="not a JSON file"):
        read_datafile(tmp_path)
    with pytest.raises(ValueError, match="did you mean 'test'"):
        PaxrayDataset(tiny, split="tests")


def test_masks_of_another_size_are_refused(tmp_path):
    write_tiny(tmp_path)
    target = tmp_path / "labels" / "case000frontal.pxm"
    PackedMasks.read(target).resize(20, 20).write(target)
    with pytest.raises(ValueError, match="case000frontal"):
        PaxrayDataset(tmp_path)[0]


def test_packed_files_are_read_where_there_are_any_and_stacks_elsewhere(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    data = read_datafile(tmp_path)
    before = [PaxrayDataset(tmp_path)[i].masks for i in range(3)]
    first, second = (tmp_path / entry.target for entry in data.splits["train"][:2])
    PackedMasks.read(first, data.labels).write(first.with_suffix(".pxm"))
    PackedMasks.read(second, data.labels).write(second.with_suffix(".pxm"))
    first.unlink()
    read = [data.target_path(entry).suffix for entry in data.splits["train"][:3]]
    assert read == [".pxm", ".pxm", ".npy"]
    assert [PaxrayDataset(tmp_path)[i].masks for i in range(3)] == before


def test_a_packed_file_stands_for_a_stack_only(tmp_path):
    write_tiny(tmp_path, suffix=".json", labels=LabelSet(["heart", "aorta"]), size=16)
    data = read_datafile(tmp_path)
    listed = tmp_path / data.splits["train"][0].target
    PackedMasks.read(listed).resize(8, 8).write(listed.with_suffix(".pxm"))
    assert data.target_path(data.splits["train"][0]) == listed


@given(
    length=st.integers(1, 40),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
    start=st.integers(0, 40),
)
def test_sampler_covers_an_epoch_and_resumes_anywhere(length, seed, epoch, start):
    whole = list(EpochSampler(length, seed, epoch))
    assert [position for _, position, _ in whole] == list(range(length))
    assert sorted(index for *_, index in whole) == list(range(length))
    start = min(start, length)
    again = EpochSampler(length, seed, epoch, start)
    assert list(again) == whole[start:]
    assert len(again) == length - start


def test_sampler_orders_each_epoch_anew():
    orders = {
        tuple(index for *_, index in EpochSampler(20, seed, epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
