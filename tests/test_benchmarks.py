"""The benchmarks at a tiny size: that they run, and that the two ways which they compare do the
same.
"""

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from paxray_lib.models import build_model

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def run(monkeypatch, capsys):
    """A function that runs a benchmark in this process and returns what it prints."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return run


def test_the_plain_network_is_the_published_one():
    import _plain

    torch.manual_seed(0)
    model = build_model("paxray_unet", ["a", "b", "c"]).eval()
    images = torch.randn(1, 3, 40, 50)
    with torch.inference_mode():
        torch.testing.assert_close(
            _plain.PlainUNet.like(model.network)(images), model(images), rtol=1e-4, atol=1e-4
        )


def test_the_plain_scores_are_intersection_over_union():
    import _plain

    predicted, target = torch.zeros(2, 1, 2, 2, 2)
    predicted[0, 0, 0], target[0, 0, :, 0] = 1, 1
    for way in (_plain.scores, _plain.scores_by_label):
        iou, dice = way(predicted, target)
        torch.testing.assert_close(iou, torch.tensor([[1 / 3, 0.0]]))
        torch.testing.assert_close(dice, torch.tensor([[0.5, 0.0]]))


@pytest.mark.slow
def test_step(run, monkeypatch):
    import step

    def here(row, options, out):  # in a process of its own its peak memory would be its own
        return step.measure(row, options.batch, options.size, options.steps, out)

    monkeypatch.setattr(step, "run_row", here)
    text = run("step", "--size", 32, "--batch", 2, "--steps", 1)
    assert "| ours, bfloat16 |" in text
    loss, gradients = re.search(
        r"our loss differs from .* by (\S+), our gradients by (\S+)", text
    ).groups()
    assert float(loss) < 1e-12
    assert float(gradients) < 1e-9


@pytest.mark.slow
def test_evaluation(run, monkeypatch):
    import evaluation

    monkeypatch.setattr(evaluation, "run_row", evaluation.child)
    text = run("evaluation", "--size", 32, "--images", 2, "--repeats", 1)
    lines = [line.split("|") for line in text.splitlines() if "IoU and Dice |" in line]
    plain, ours = (float(line[5]) for line in lines[:2])
    assert ours == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize(
    ("cases", "parts"), [(426, [299, 37, 90]), (3, [1, 1, 1]), (30, [21, 3, 6])]
)
def test_gpu_recipe_splits_as_published(cases, parts):
    import gpu_recipe

    assert list(gpu_recipe.split(cases).values()) == parts


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("50, 2048\n70, 4096\n[N/A], 4096\n9", ("60 %", "4.0 GiB")),
        ("0, 10\n80, 2048\n", ("80 %", "2.0 GiB")),
        ("[N/A], [N/A]\nUnable to determine the device handle\n", ("not measured", "not measured")),
        ("", ("not measured", "not measured")),
    ],
)
def test_gpu_recipe_reads_what_it_can(tmp_path, lines, found):
    import gpu_recipe

    assert gpu_recipe.read_gpu(tmp_path / "gpu.csv") == ("no GPU", "no GPU")
    (tmp_path / "gpu.csv").write_text(lines)
    assert gpu_recipe.read_gpu(tmp_path / "gpu.csv") == found


@pytest.mark.parametrize(
    ("checkpoint", "result", "total"), [(False, None, True), (True, None, False), (True, 5, 5.0)]
)
def test_gpu_recipe_goes_on_where_it_was(tmp_path, monkeypatch, checkpoint, result, total):
    import gpu_recipe

    from paxray_lib.training import loop

    options = argparse.Namespace(
        out=tmp_path, size=64, batch_size=3, epochs=2, compile="off", workers=0
    )
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    (tmp_path / "run" / "metrics.csv").write_text("epoch,seconds\n1,2.0\n2,4.0\n")
    if checkpoint:
        last.touch()
    if result:
        (tmp_path / "result.json").write_text('{"epochs": 2, "total": 5.0}')
    monkeypatch.setattr(
        loop, "fit", lambda config, resume: resume or pytest.fail("a second start resumes")
    )
    found = gpu_recipe.train(options)
    assert found["total"] == total if result else (found["total"] is not None) == total
    assert result or (found["epoch"], found["training"]) == (3.0, 6.0)


@pytest.mark.slow
def test_gpu_recipe(run, tmp_path):
    size = ("--size", 32, "--images", 6, "--epochs", 1, "--plain-steps", 1)
    size += ("--workers", 0, "--compile", "off")
    text = run("gpu_recipe", "--cpu", "--out", tmp_path, *size)
    for word in (
        "images a second",
        "waits for batches",
        "mean IoU on test, published",
        "plain way, images a second",
    ):
        assert word in text
    found = json.loads((tmp_path / "result.json").read_text())
    assert "not measured" not in text
    assert "epoch 1/1" not in run("gpu_recipe", "--cpu", "--out", tmp_path, *size), (
        "a finished training is used again"
    )
    assert json.loads((tmp_path / "result.json").read_text())["total"] == found["total"]


@pytest.mark.slow
def test_onnx_export(run):
    """Both ways decide alike on the example films."""
    assert "0 of them not within 0.001 of 0" in run("onnx_export")
