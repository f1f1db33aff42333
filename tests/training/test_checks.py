import shutil

import pytest
import torch
from helpers.datafiles import rewrite
from helpers.sampledata import small_training, write_tiny

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.models import AnatomySegmenter
from paxray_lib.training import setup
from paxray_lib.training.checks import check_data
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit
from paxray_lib.training.losses import LOSSES
from paxray_lib.utils.errors import Stopped


def test_a_lack_of_memory_is_one_line_with_a_remedy(tiny, tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 80 GiB in all."
        )

    monkeypatch.setitem(LOSSES, "full", full)
    said = (
        r"^out of memory with batches of 3 \(CUDA out .* 2.00 GiB\); no checkpoint .* accumulate$"
    )
    with pytest.raises(Stopped, match=said):
        fit(TrainConfig(**small_training(tiny, tmp_path), loss="full"))


def test_a_lack_of_memory_in_a_validation_names_the_last_checkpoint(tiny, tmp_path, monkeypatch):
    def full(model, images):
        if torch.is_inference_mode_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 ..")
        return model.network(model.pad(images))

    monkeypatch.setattr(AnatomySegmenter, "coarse", full)
    said = (
        r"^out of memory .*\(CUDA out .* 2.00 GiB\); the last good checkpoint is .* --resume goes"
    )
    with pytest.raises(Stopped, match=said):
        fit(TrainConfig(**small_training(tiny, tmp_path)))


@pytest.mark.slow  # for what torch.compile imports
def test_a_missing_compiler_is_one_line_with_a_remedy(tiny, tmp_path, monkeypatch):
    def backend(*_):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")

    monkeypatch.setitem(setup.COMPILE_OPTIONS, "kernels", {"backend": backend})
    with pytest.raises(
        ValueError,
        match=r"^compile: 'kernels' does not work \S* \(.*C compiler.*\); use compile=off$",
    ):
        fit(TrainConfig(**{**small_training(tiny, tmp_path), "compile": "kernels"}))


def test_a_network_that_cannot_learn_from_one_image_names_batch_size(tiny, tmp_path):
    settings = {"architecture": "deeplabv3plus", "encoder": "mobilenet_v2", "batch_size": 1}
    with pytest.raises(
        ValueError, match=r"^batch_size is 1: deeplabv3plus with mobilenet_v2 cannot learn from one"
    ):
        fit(TrainConfig(**{**small_training(tiny, tmp_path), **settings}))


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_files_are_named_at_the_start(tmp_path, split):
    write_tiny(tmp_path)
    first = {"train": 0, "val": 4}[split]
    (tmp_path / "images" / f"case00{first}frontal.png").unlink()
    (tmp_path / "labels" / f"case00{first}lateral.pxm").unlink()
    said = rf"2 files .* missing, .*images/case00{first}frontal.png, .*case00{first}lateral.pxm; "
    with pytest.raises(FileNotFoundError, match=said):
        fit(TrainConfig(**small_training(tmp_path, tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [["left lung", "heart"], ["rib_left_1", "heart"]])
def test_flips_are_refused_where_a_label_has_no_counterpart(tmp_path, names):
    write_tiny(tmp_path, labels=LabelSet(names))
    config = TrainConfig(**{**small_training(tmp_path, tmp_path / "run"), "flip_prob": 0.5})
    with pytest.raises(
        ValueError, match=f"flip_prob: the counterpart of {names[0]} is not among the labels"
    ):
        fit(config)
    check_data(*(PaxrayDataset(tmp_path, split=split) for split in ("train", "val")), flips=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["label_dict"].update({"0": "chest"}), "labels of paxray.json;"),
        (lambda content: content["train"].reverse(), "training images of paxray.json;"),
        (
            lambda content: content["val"][0].update(view="lateral"),
            "validation images of paxray.json;",
        ),
    ],
)
def test_a_resume_with_other_data_is_refused_by_name(trained, tiny, tmp_path, change, message):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny, data)  # a folder may move
    shutil.copytree(trained, run)
    config = TrainConfig(**small_training(data, run))
    assert fit(config, resume=True) == run
    rewrite(data, change)
    with pytest.raises(ValueError, match=f"last.ckpt was trained with other settings: {message}"):
        fit(config, resume=True)
