"""The sample data set on disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.sample_dataset import generate_sample, split_cases


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    generate_sample(root, cases=4, size=64, seed=3, workers=1)
    return root


def test_sample_layout(sample):
    datafile = read_datafile(sample)
    assert datafile.labels == LABELS
    assert {name: len(entries) for name, entries in datafile.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert datafile.extra["synthetic"] is True
    assert "CC0" in datafile.extra["license"]
    cases = [{entry.case for entry in entries} for entries in datafile.splits.values()]
    assert not set.intersection(*cases)
    for split in datafile.splits:
        for item in PaxrayDataset(sample, split=split):
            assert item.image.shape == item.masks.shape[1:] == (64, 64)
    quarter, half, full = (
        {entry.image for entry in read_datafile(sample, name).split("train")}
        for name in ("paxray_quarter.json", "paxray_half.json", "paxray.json")
    )
    assert quarter <= half < full


def test_npy_targets_are_those_of_the_real_data(sample, tmp_path):
    generate_sample(tmp_path, cases=1, size=64, seed=3, format="npy", workers=1)
    stack = np.load(tmp_path / "labels" / "case0000frontal.npy")
    assert (stack.dtype, stack.shape) == (bool, (166, 64, 64))
    packed = PaxrayDataset(sample, split="train")
    names = [e.image for s in packed.datafile.splits.values() for e in s]
    assert "images/case0000frontal.png" in names
    first = (tmp_path / "images" / "case0000frontal.png").read_bytes()
    assert first == (sample / "images" / "case0000frontal.png").read_bytes()


def test_interrupted_sample_is_continued(sample, tmp_path):
    root = shutil.copytree(sample, tmp_path / "sample")
    kept, lost = root / "images/case0001lateral.png", root / "labels/case0002frontal.pxm"
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    (root / "paxray.json").unlink()
    assert generate_sample(root, cases=4, size=64, seed=3, workers=1).is_file()
    assert kept.stat().st_mtime_ns == stamp
    assert lost.read_bytes() == (sample / "labels" / lost.name).read_bytes()


def test_other_settings_and_foreign_folders_are_refused(sample, tmp_path):
    with pytest.raises(ValueError, match=r"'seed': 3.*'seed': 4"):
        generate_sample(sample, cases=4, size=64, seed=4)
    with pytest.raises(ValueError, match=r"'varied': False.*'varied': True"):
        generate_sample(sample, cases=4, size=64, seed=3, varied=True)
    (tmp_path / "paxray.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="not a sample"):
        generate_sample(tmp_path)


@pytest.mark.parametrize("change", [{"cases": 0}, {"size": 8}, {"seed": -1}, {"format": "zip"}])
def test_wrong_arguments(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        generate_sample(tmp_path, **change)


def test_splits():
    split = split_cases(40, 1)
    assert sorted(case for part in split.values() for case in part) == list(range(40))
    assert {name: len(part) for name, part in split.items()} == {"train": 28, "val": 4, "test": 8}


@pytest.mark.slow
def test_processes_change_nothing(sample, tmp_path):
    generate_sample(tmp_path, cases=4, size=64, seed=3, workers=2)
    for path in sorted(sample.glob("*/*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(sample)).read_bytes(), path.name


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_sample_that_is_killed_leaves_no_process_and_goes_on(tmp_path, number):
    command = [sys.executable, "-m", "paxray_lib", "sample", tmp_path / "x", "--cases", "6"]
    run = subprocess.Popen([*command, "--size", "64"], start_new_session=True)
    while len(list(tmp_path.glob("x/labels/*.pxm"))) < 3:
        assert run.poll() is None
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    if number == signal.SIGKILL:
        run.kill()
    else:
        os.killpg(run.pid, number)  # as a terminal or a batch system does
    assert run.wait(30) == (-number if number == signal.SIGKILL else 3)
    assert not psutil.wait_procs(started, timeout=30)[1]
    generate_sample(tmp_path / "x", cases=6, size=64, workers=1)
    assert len(list(tmp_path.glob("x/labels/*.pxm"))) == 12
