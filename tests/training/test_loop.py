import contextlib
import dataclasses
import shutil
import typing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.datafiles import rewrite
from helpers.sampledata import small_training, write_tiny
from helpers.tiny_models import tiny_model
from helpers.two_processes import freeze
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.training import loop, losses, setup
from paxray_lib.training.checks import NotFinite
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit
from paxray_lib.training.optimizer import lr_factor, make_optimizer
from paxray_lib.training.setup import new_model
from paxray_lib.training.state import PendingLosses
from paxray_lib.utils.errors import Stopped


def test_a_run_leaves_what_design_promises(trained, tiny):
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.ckpt"} <= names
    assert any(name.startswith("logs/events") for name in names)
    metrics = pd.read_csv(trained / "metrics.csv")
    assert metrics["epoch"].tolist() == [1, 2]
    assert (
        metrics[["train_loss", "val_iou_present", "learning_rate", "seconds"]].notna().all().all()
    )
    settings = yaml.safe_load((trained / "config.yaml").read_text())
    assert settings["data_root"] == str(tiny)


def test_checkpoint_carries_labels_and_preprocessing(trained, tiny):
    model = load_model(trained / "checkpoints/last.ckpt")
    assert len(model.labels) == 166
    assert model.preprocessing.size == (32, 32)
    result = evaluate(model, tiny, split="val")
    metrics = pd.read_csv(trained / "metrics.csv")
    assert result.summary["overall"]["iou_present"] == pytest.approx(
        metrics["val_iou_present"].iloc[-1]
    )


def test_the_best_checkpoint_is_the_one_that_scored_best(trained, tiny):
    metrics = pd.read_csv(trained / "metrics.csv")
    best = evaluate(trained / "checkpoints/best.ckpt", tiny, split="val").summary["overall"][
        "dice_published"
    ]
    assert best == pytest.approx(metrics["val_dice_published"].max())


def test_training_lowers_the_loss(tiny, tmp_path):
    settings = {
        **small_training(tiny, tmp_path),
        "epochs": 8,
        "val_every": 8,
        "resize_prob": 0.0,
        "loss": "present",
    }
    metrics = pd.read_csv(fit(TrainConfig(**settings)) / "metrics.csv")
    assert metrics["train_loss"].iloc[-1] < 0.95 * metrics["train_loss"].iloc[0]
    assert metrics["val_iou_present"].notna().tolist() == [False] * 7 + [True]


def assert_same_metrics(one, other):
    tables = [
        pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (one, other)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


class Stop(Exception):
    pass


@contextlib.contextmanager
def each_step(before=None, after=None):
    """Call functions with the number of each step of an optimizer, counted from 1."""
    step, taken = torch.optim.AdamW.step, []

    def watched(self, *arguments, **options):
        taken.append(self)
        if before:
            before(len(taken))
        result = step(self, *arguments, **options)
        if after:
            after(len(taken), self)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        yield taken


def test_accumulation_that_was_stopped_goes_on_to_the_same_weights(tiny, tmp_path):
    settings = {
        **small_training(tiny, tmp_path / "whole"),
        "save_every": 1,
        "batch_size": 2,
        "accumulate": 2,
    }
    whole = fit(TrainConfig(**settings))
    config = TrainConfig(**{**settings, "run_dir": str(tmp_path / "stopped")})

    def stop(number):
        if number == 4:  # in the second of two epochs of two steps
            raise Stop

    with each_step(before=stop), pytest.raises(Stop):
        fit(config)
    resumed = fit(config, resume=True)
    one, other = (
        load_model(folder / "checkpoints/last.ckpt").state_dict() for folder in (whole, resumed)
    )
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    assert_same_metrics(resumed, whole)


def test_a_finished_run_can_be_continued_but_not_changed(trained, tiny, tmp_path):
    config = TrainConfig(**small_training(tiny, trained))
    with pytest.raises(FileExistsError, match="resume"):
        fit(config)
    with pytest.raises(ValueError, match=r"batch_size \(was 3, is 4\)"):
        fit(dataclasses.replace(config, batch_size=4), resume=True)
    assert fit(config, resume=True) == trained  # nothing left to do
    assert read_extra(trained / "checkpoints/last.ckpt")["state"]["epoch"] == 2


def test_a_loss_that_is_not_finite_stops_with_names(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(
        losses.LOSSES, "broken", lambda logits, _, known: logits.sum() * float("nan")
    )
    with pytest.raises(NotFinite, match=r"nan at step 0 .*case00.*no checkpoint"):
        fit(TrainConfig(**small_training(tiny, tmp_path), loss="broken"))
    assert not (tmp_path / "checkpoints").exists()


def test_a_loss_of_ones_own_trains(tiny, tmp_path, monkeypatch):
    def entropy(logits, target, known=None):
        true = losses.dense(target, logits)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, true)

    monkeypatch.setitem(losses.LOSSES, "entropy", entropy)
    metrics = pd.read_csv(
        fit(TrainConfig(**small_training(tiny, tmp_path), loss="entropy")) / "metrics.csv"
    )
    assert metrics["train_loss"].is_monotonic_decreasing


def test_weights_that_are_not_finite_reach_no_checkpoint(tiny, tmp_path):
    def breaks(number, optimizer):  # its loss is good still
        if number == 5:
            optimizer.param_groups[0]["params"][0].data[0] = float("inf")

    config = TrainConfig(**{**small_training(tiny, tmp_path), "save_every": 5})
    with (
        each_step(after=breaks),
        pytest.raises(NotFinite, match=r"weights .* at step 4 .*last good .*last.ckpt"),
    ):
        fit(config)
    assert read_extra(tmp_path / "checkpoints/last.ckpt")["state"]["epoch"] == 1
    weights = load_model(tmp_path / "checkpoints/last.ckpt").parameters()
    assert all(value.isfinite().all() for value in weights)


def test_a_full_disk_stops_the_training_which_goes_on_later(tiny, trained, tmp_path, monkeypatch):
    save, saved = torch.save, []

    def full(content, path):
        saved.append(path)
        if len(saved) > 3:  # last, best and again last of the first epoch
            raise RuntimeError(
                "[enforce fail at inline_container.cc:672] . unexpected pos 25897920 vs 25897816"
            )
        save(content, path)

    profile = tmp_path / "p.yaml"
    profile.write_text(yaml.safe_dump(small_training(tiny, tmp_path / "run")))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        stopped = CliRunner().invoke(app, ["train", "--profile", str(profile)])
    assert stopped.exit_code == 3
    assert "stopped after 1 epochs and 3 steps: " in stopped.stderr
    assert "is the disk full?" in stopped.stderr
    assert "last.ckpt; --resume goes on" in stopped.stderr
    assert CliRunner().invoke(app, ["train", "--profile", str(profile), "--resume"]).exit_code == 0
    assert_same_metrics(tmp_path / "run", trained)


def test_a_validation_that_fails_is_repeated_alone(trained, tmp_path):
    # a copy made as `tiny` is, whose files may be moved
    write_tiny(tmp_path / "data")
    config = TrainConfig(**small_training(tmp_path / "data", tmp_path / "run"))
    image, away = tmp_path / "data/images/case004frontal.png", tmp_path / "away.png"

    def hide(number):
        if number == 3:
            image.rename(away)

    said = r"after 0 epochs and 3 steps: .*case004frontal.*last.ckpt; --resume"
    with each_step(before=hide), pytest.raises(Stopped, match=said):
        fit(config)
    away.rename(image)
    with each_step() as taken:
        fit(config, resume=True)
    assert len(taken) == 3, "the second epoch's"
    assert_same_metrics(tmp_path / "run", trained)


def test_two_trainings_do_not_work_in_one_folder(tiny, tmp_path):
    config = TrainConfig(**{**small_training(tiny, tmp_path), "epochs": 1})
    part = tmp_path / "checkpoints" / ".last.0.part.ckpt"

    def meet_another(number):
        if number > 1:
            return
        part.parent.mkdir(exist_ok=True)
        part.touch()  # a checkpoint that this training is writing
        with pytest.raises(ValueError, match="working in this folder"):
            fit(config, resume=True)
        assert part.exists()

    with each_step(before=meet_another):
        fit(config)


@pytest.mark.slow
def test_a_compiled_network_learns_the_same_and_its_checkpoints_are_plain(
    trained, tiny, tmp_path, monkeypatch
):
    # traced, but without a C compiler
    monkeypatch.setitem(setup.COMPILE_OPTIONS, "kernels", {"backend": "eager"})
    fit(TrainConfig(**{**small_training(tiny, tmp_path), "compile": "kernels"}))
    states = [
        load_model(folder / "checkpoints/last.ckpt").state_dict() for folder in (tmp_path, trained)
    ]
    assert states[0].keys() == states[1].keys()
    losses = [pd.read_csv(folder / "metrics.csv")["train_loss"] for folder in (tmp_path, trained)]
    pd.testing.assert_series_equal(*losses, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_kernels_give_the_same_loss_and_gradients(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    layers = (
        torch.nn.Conv2d(3, 8, 3, 2, 1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 21, 1),
    )
    network = torch.nn.Sequential(*layers)
    model = AnatomySegmenter(
        network, {"architecture": "unet"}, LabelSet(LABELS.names[115:136]), Preprocessing()
    )
    model = model.to(memory_format=torch.channels_last)
    images, targets = (
        torch.rand(2, 64, 64),
        torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8) & 31,
    )
    module = loop.NetworkWithLoss(model, "published")
    results = []
    for form in (module, torch.compile(module, dynamic=False)):
        loss = form(images, targets)
        model.zero_grad()
        loss.backward()
        gradients = (parameter.grad.clone() for parameter in model.parameters())
        results.append([loss.detach(), *gradients])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)


def test_synchronised_batch_norm_leaves_plain_checkpoints(tmp_path):
    model = tiny_model()
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    save_model(tmp_path / "a.ckpt", torch.nn.SyncBatchNorm.convert_sync_batchnorm(model))
    loaded = load_model(tmp_path / "a.ckpt")
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in loaded.modules())
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_graphs_need_a_gpu(tiny, tmp_path):
    with pytest.raises(ValueError, match="compile 'graphs' needs an NVIDIA GPU, and this is cpu"):
        fit(TrainConfig(**{**small_training(tiny, tmp_path / "run"), "compile": "graphs"}))
    assert not (tmp_path / "run").exists()


def test_a_gpus_loss_is_read_a_step_late(monkeypatch):
    stream = SimpleNamespace(record_event=lambda: SimpleNamespace(synchronize=lambda: None))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    cpu, gpu = PendingLosses(torch.device("cpu")), PendingLosses(torch.device("cuda"))
    for step in range(3):
        for running in (cpu, gpu):
            running.add(step, torch.tensor(step + 0.5))
        assert list(cpu.take()) == [(step, step + 0.5)]
        assert list(gpu.take()) == [(step - 1, step - 0.5)][: step > 0]
    assert list(gpu.take(wait=True)) == [(2, 2.5)]


def test_accumulated_batches_are_one_large_batch(tiny, tmp_path):
    weights = []
    for name, sizes in (("one", {"batch_size": 6}), ("three", {"batch_size": 2, "accumulate": 3})):
        settings = {**small_training(tiny, tmp_path / name), **sizes, "epochs": 1}
        freeze(True)
        try:
            folder = fit(TrainConfig(**settings))
        finally:
            freeze(False)
        weights.append(dict(load_model(folder / "checkpoints/last.ckpt").named_parameters()))
    start = dict(new_model(TrainConfig(**settings), LABELS).named_parameters())
    apart, moved = (
        sum((one[key] - value).square().sum() for key, value in other.items()).sqrt()
        for one, other in (weights, (weights[0], start))
    )
    assert apart < 1e-3 * moved


def test_published_groups_and_schedule():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    other, bias = make_optimizer(model, TrainConfig()).param_groups
    assert [len(group["params"]) for group in (other, bias)] == [2, 2]
    assert (other["base_lr"], other["weight_decay"]) == (1e-3, 1e-4)
    assert (bias["base_lr"], bias["weight_decay"]) == (2e-3, 0)
    rates = [lr_factor(TrainConfig(), epoch * 200, 200) for epoch in (0, 59, 60, 90, 100, 109)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.01, 0.001, 0.001])


def test_onecycle_rises_once_and_falls_to_nothing():
    config = TrainConfig(schedule="onecycle", epochs=10)
    rates = [lr_factor(config, step, 7) for step in range(70)]
    top = int(np.argmax(rates))
    assert max(rates) == 1
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert rates[-1] < 0.01


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schedule", "onecycl", "did you mean 'onecycle'"),
        ("best", "iou", "must be 'iou_published'"),
        ("precision", "float16", "must be 'auto', 'float32' or 'bfloat16'"),
        ("compile", "graph", "did you mean 'graphs'"),
        ("accumulate", 0, "must be greater than 0, not 0"),
        ("loss", "presnt", "did you mean 'present'"),
        ("threshold", 1.5, "threshold must be less than 1, not 1.5"),
        ("learning_rate", 0.0, "learning_rate must be greater than 0, not 0.0$"),
        ("learning_rate", float("nan"), "learning_rate"),
        ("workers", -1, "workers must be greater than or equal to 0, not -1"),
        ("epochs", 0, "must be greater than 0, not 0"),
        ("crop_size", 600, "crop_size"),
        ("flip_prob", 2.0, "flip_prob"),
    ],
)
def test_settings_are_checked_at_once(field, value, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{field: value})


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items.clear(), "no images"),
        (lambda items: items[1].pop("target"), "1 images without a target, such as images/case"),
    ],
)
def test_a_split_without_images_or_masks_is_refused_at_the_start(tmp_path, split, change, message):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda content: change(content[split]))
    with pytest.raises(ValueError, match=f"split '{split}' has {message}"):
        fit(TrainConfig(**small_training(tmp_path, tmp_path / "run")))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "bogus"])
def test_a_device_that_is_not_there_is_refused(tiny, tmp_path, device):
    config = TrainConfig(**{**small_training(tiny, tmp_path / "run"), "device": device})
    with pytest.raises(ValueError, match=f"device '{device}' is not available here"):
        fit(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["standard", "published"])
def test_the_input_is_the_models_preprocessing(tiny, kind):
    preprocessing = Preprocessing(kind, (48, 48))
    model = tiny_model(preprocessing=preprocessing)
    image = PaxrayDataset(tiny, split="train")[0].image
    images = torch.from_numpy(preprocessing.resize(image))[None]
    inputs = loop.NetworkWithLoss(model, "present").normalize(images)[0]
    np.testing.assert_allclose(inputs.numpy(), preprocessing(image), rtol=1e-5, atol=1e-4)


def test_scores_to_choose_the_best_by():
    assert typing.get_args(typing.get_type_hints(TrainConfig)["best"]) == loop.SCORES
