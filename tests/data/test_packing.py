import os
from pathlib import Path

import numpy as np
import pytest
from helpers.sampledata import write_tiny

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.packing import npy_targets, pack_dataset, pack_target
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.check import check_dataset


@pytest.fixture
def data(tmp_path):
    write_tiny(tmp_path, suffix=".npy")
    return read_datafile(tmp_path)


@pytest.fixture
def path(data):
    return npy_targets(data)[0]


def pack(data, **options):
    return list(pack_dataset(data, 2, **options))


def make_newer(path, seconds):
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + seconds))


def test_all_targets_of_all_splits_are_packed_in_order(data):
    before = [
        sample.masks for split in data.splits for sample in PaxrayDataset(data.root, split=split)
    ]
    done = pack(data)
    assert [item.path for item in done] == npy_targets(data)
    assert [(item.status, item.removed, item.reason) for item in done] == [
        ("packed", False, "")
    ] * 14
    assert all(path.is_file() for path in npy_targets(data))
    assert all(
        data.target_path(e).suffix == ".pxm" for entries in data.splits.values() for e in entries
    )
    assert [
        sample.masks for split in data.splits for sample in PaxrayDataset(data.root, split=split)
    ] == before
    assert {item.status for item in pack(data)} == {"skipped"}


def test_a_target_listed_twice_is_packed_once(data):
    entries = data.splits["train"]
    twice = type(data)(data.path, data.root, data.labels, {"train": entries, "again": entries})
    assert len(pack(twice)) == len(entries)


def test_a_newer_stack_is_packed_again(data, path):
    assert [pack_target(path, data.labels).status for _ in range(2)] == ["packed", "skipped"]
    make_newer(path, 10)
    assert pack_target(path, data.labels).status == "packed"
    path.write_bytes(path.read_bytes()[:1000])
    make_newer(path, 20)
    with pytest.raises(ValueError, match="cut short"):
        pack_target(path, data.labels)


def test_damaged_packed_files_and_those_of_other_labels_are_repaired(data, path):
    packed, masks = path.with_suffix(".pxm"), PackedMasks.read(path)
    pack_target(path, data.labels)
    packed.write_bytes(packed.read_bytes()[:-5])
    assert pack_target(path, data.labels).status == "packed"
    assert PackedMasks.read(packed) == masks
    renamed = LabelSet(["renamed", *data.labels.names[1:]])
    assert pack_target(path, renamed).status == "packed"
    assert PackedMasks.read(packed).labels == renamed


def test_removed_stacks_leave_a_data_set_that_reads_and_checks_as_before(data):
    before = [sample.masks for sample in PaxrayDataset(data.root)]
    findings = check_dataset(data.root)
    done = pack(data, remove_npy=True)
    assert [(item.status, item.removed) for item in done] == [("packed", True)] * 14
    assert not list(data.root.rglob("*.npy"))
    assert [sample.masks for sample in PaxrayDataset(data.root)] == before
    assert check_dataset(data.root) == findings
    again = pack(data, remove_npy=True)
    assert [(item.status, item.removed) for item in again] == [("skipped", False)] * 14


def test_a_run_that_was_killed_goes_on(data, monkeypatch):
    unlink = Path.unlink

    def killed(path, **options):
        if path.name == "case001lateral.npy":
            raise KeyboardInterrupt
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(data, remove_npy=True)
    assert (data.root / "labels" / "case001lateral.npy").is_file()
    assert not (data.root / "labels" / "case000frontal.npy").exists()
    done = pack(data, remove_npy=True)
    assert {item.status for item in done} == {"packed", "skipped"}
    assert not list(data.root.rglob("*.npy"))
    assert len(list(data.root.rglob("*.pxm"))) == 14


def test_a_bad_file_is_named_and_stays_while_the_others_go_on(data, path):
    content = path.read_bytes()[:1000]
    path.write_bytes(content)
    missing = npy_targets(data)[3]
    missing.unlink()
    done = pack(data, remove_npy=True)
    failed = {item.path: item.reason for item in done if item.status == "failed"}
    assert list(failed) == [path, missing]
    assert "cut short" in failed[path]
    assert f"{missing}: no such" in failed[missing]
    assert path.read_bytes() == content
    assert not path.with_suffix(".pxm").exists()
    assert sum(item.removed for item in done) == 12


def test_a_packed_file_that_differs_from_its_stack_deletes_neither(data, path):
    packed = path.with_suffix(".pxm")
    PackedMasks.pack(~PackedMasks.read(path).unpack(), data.labels).write(packed)
    assert pack_target(path, data.labels).status == "skipped"
    with pytest.raises(ValueError, match=r"case000frontal\.pxm: differs from case000frontal\.npy"):
        pack_target(path, data.labels, remove_npy=True)
    assert path.is_file()
    assert packed.is_file()


def test_a_copy_that_reads_back_differently_is_a_fault_and_the_stack_stays(data, path, monkeypatch):
    write = PackedMasks.write

    def write_wrongly(self, target):
        wrong = self.data.copy()
        wrong[0, 0, 0] ^= 1
        write(PackedMasks(wrong, self.labels), target)

    monkeypatch.setattr(PackedMasks, "write", write_wrongly)
    with pytest.raises(ValueError, match=r"differs from .* after writing"):
        pack_target(path, data.labels, remove_npy=True)
    assert np.load(path).shape == (166, 48, 48)
    assert not path.with_suffix(".pxm").exists()


def test_a_packed_file_without_its_stack_must_be_readable(data, path):
    pack_target(path, data.labels, remove_npy=True)
    assert pack_target(path, data.labels, remove_npy=True).status == "skipped"
    path.with_suffix(".pxm").write_bytes(b"PAXMASK")
    with pytest.raises(ValueError, match=r"case000frontal\.pxm"):
        pack_target(path, data.labels, remove_npy=True)


def test_workers_must_be_a_number_of_threads(data):
    with pytest.raises(ValueError, match="workers -1"):
        pack_dataset(data, -1)
