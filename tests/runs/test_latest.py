import os
from pathlib import Path

import pytest

from paxray_lib.runs.latest import newest_run


def make_run(folder, when, holding="checkpoints/best.ckpt"):
    path = folder / holding
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (when, when))


def test_newest_run_is_that_of_the_newest_checkpoint(tmp_path):
    make_run(tmp_path / "old", 1000)
    make_run(tmp_path / "demo", 3000)
    make_run(tmp_path / "sweep/half", 2000)
    make_run(tmp_path / "untrained", 4000, "evaluation/counts.npz")
    assert newest_run(tmp_path) == tmp_path / "demo"
    assert newest_run(tmp_path, "evaluation/counts.npz") == tmp_path / "untrained"
    os.utime(tmp_path / "sweep/half/checkpoints/best.ckpt", (5000, 5000))
    assert newest_run(tmp_path) == tmp_path / "sweep/half"
    for name, make in (("folder", Path.mkdir), ("pipe", os.mkfifo)):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        make(tmp_path / name / "checkpoints/best.ckpt")
    (tmp_path / "demo/checkpoints/best.ckpt").unlink()
    (tmp_path / "demo/checkpoints/best.ckpt").symlink_to("nowhere")
    assert newest_run(tmp_path) == tmp_path / "sweep/half"


def test_without_a_run_the_message_says_what_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"02_train.*make demo"):
        newest_run(tmp_path / "runs")
    make_run(tmp_path / "demo", 1000)
    with pytest.raises(FileNotFoundError, match="03_evaluate"):
        newest_run(tmp_path, "evaluation/counts.npz")
