"""Two processes over gloo against one: the same weights, the same scores, one set of files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import two_processes
from helpers.datafiles import rewrite
from helpers.sampledata import ROOT, small_training, write_tiny
from helpers.two_processes import FROZEN, LIVE, config, freeze, in_double_precision
from typer.testing import CliRunner

from paxray_lib.cli import app, command
from paxray_lib.compute import collectives, fabric
from paxray_lib.compute.collectives import joined
from paxray_lib.compute.fabric import make_fabric
from paxray_lib.compute.launch import Launch, find_launch
from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.models.checkpoints import load_model
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit
from paxray_lib.training.setup import new_model


def torchrun(*command, processes=2):
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "default",
    }
    return subprocess.run(
        [*launcher, *map(str, command)], capture_output=True, text=True, env=env, check=False
    )


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """Root of a data set of 7 training and 3 validation images, which two processes cannot share
    evenly.
    """
    root = tmp_path_factory.mktemp("odd")
    write_tiny(root)
    rewrite(root, lambda content: content["val"].append(content["train"].pop()))
    return root


@pytest.fixture(scope="module")
def both(odd, tmp_path_factory) -> tuple[Path, str]:
    """Folder of what two processes left (see two_processes.py), and what they said."""
    out = tmp_path_factory.mktemp("both")
    done = torchrun(two_processes.__file__, odd, out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout + done.stderr


@pytest.fixture
def alone(odd, tmp_path):
    """A function that trains in this process, in double precision as the two that it is compared
    with.
    """

    def run(frozen, **settings):
        in_double_precision(True)
        freeze(frozen)
        try:
            return fit(config(odd, tmp_path, "whole", **settings))
        finally:
            freeze(False)
            in_double_precision(False)

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the parameters as they were saved: a model would round them to float32."""
    path = folder / "checkpoints/last.ckpt"
    saved = torch.load(path, weights_only=True)["model"]
    return {
        f"network.{name}": saved[name] for name, _ in load_model(path).network.named_parameters()
    }


def assert_moved_alike(one: Path, other: Path, settings: dict):
    """Compare weights, relative to how far the training moved them."""
    start = new_model(TrainConfig(**settings), load_model(one / "checkpoints/last.ckpt").labels)
    first, second = weights(one), weights(other)
    apart = sum((second[name] - value).square().sum() for name, value in first.items()).sqrt()
    moved = sum(
        (first[name] - value).square().sum() for name, value in start.named_parameters()
    ).sqrt()
    assert moved > 0.1
    assert apart < 1e-9 * moved


@pytest.mark.slow
def test_with_frozen_batch_norm_two_processes_train_as_one(both, odd, alone):
    whole = alone(True, **{**FROZEN, "batch_size": 4})
    assert_moved_alike(both[0] / "frozen", whole, small_training(odd, whole))
    tables = [pd.read_csv(folder / "metrics.csv") for folder in (both[0] / "frozen", whole)]
    pd.testing.assert_series_equal(*(table["train_loss"] for table in tables), rtol=1e-9)


@pytest.mark.slow
def test_with_batch_norm_a_step_is_that_of_one_process_over_the_same_batches(both, odd, alone):
    whole = alone(False, **{**LIVE, "accumulate": 4, "epochs": 1})
    assert_moved_alike(both[0] / "live", whole, small_training(odd, whole))


@pytest.mark.slow
def test_two_processes_resume_to_the_bit(both):
    straight, resumed = weights(both[0] / "straight"), weights(both[0] / "resumed")
    assert all(torch.equal(straight[name], value) for name, value in resumed.items())
    tables = [
        pd.read_csv(both[0] / name / "metrics.csv").drop(columns="seconds")
        for name in ("straight", "resumed")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.slow
def test_validation_is_shared_and_scored_as_by_one(both, odd):
    metrics = pd.read_csv(both[0] / "straight/metrics.csv").iloc[-1]
    overall = evaluate(both[0] / "straight/checkpoints/last.ckpt", odd, split="val").summary[
        "overall"
    ]
    for score in ("iou_present", "iou_published", "dice_present", "dice_published"):
        # a pixel may round otherwise
        assert overall[score] == pytest.approx(metrics[f"val_{score}"], abs=1e-3)


@pytest.mark.slow
def test_the_first_process_alone_speaks_and_writes(both):
    out, said = both
    # live, resumed, two_steps, interrupted
    assert said.count("epoch 1/1:") == 4
    assert said.count("epoch 2/2:") == 3  # frozen, straight, resumed
    assert said.count("resumed at epoch 2") == 1
    assert said.count("resumed at epoch 1, step 1") == 1
    assert "2 x 1 accumulated x 2 processes" in said
    assert len(list((out / "live" / "logs").iterdir())) == 1
    assert not list(out.rglob("*.part*"))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_all(both):
    messages = {(both[0] / f"stopped{rank}.txt").read_text() for rank in (0, 1)}
    assert len(messages) == 1
    assert messages.pop().startswith("the loss is nan at step 0 (images case")
    assert not (both[0] / "nan" / "checkpoints").exists()


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_after_the_same_step(both):
    messages = [(both[0] / f"interrupted{rank}.txt").read_text() for rank in (0, 1)]
    assert messages[0].startswith("stopped after 0 epochs and 1 steps: stopped like another proc")
    assert messages[1].startswith("stopped after 0 epochs and 1 steps: interrupted; the last good")
    straight, resumed = weights(both[0] / "two_steps"), weights(both[0] / "interrupted")
    assert all(torch.equal(straight[name], value) for name, value in resumed.items())


@pytest.mark.slow
def test_another_number_of_processes_is_refused(both, odd):
    with pytest.raises(ValueError, match=r"number of processes \(was 2, is 1\)"):
        fit(config(odd, both[0], "straight", **{**LIVE, "epochs": 3}), resume=True)


@pytest.mark.slow
def test_a_killed_process_stops_the_others_with_the_reason(odd, tmp_path):
    done = torchrun(two_processes.__file__, odd, tmp_path, "killed")
    assert done.returncode != 0
    said = "paxray: [process 0] another process of the training has ended"
    assert said in done.stderr, done.stderr


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x",
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_what_is_wrong_at_the_start_is_said_once(monkeypatch, tmp_path, rank, lines):
    def join(*_):  # would wait for the others
        raise AssertionError("joined before the data were checked")

    monkeypatch.setattr(torch.distributed, "init_process_group", join)
    for name, value in {**TORCHRUN, "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, value)
    profile = tmp_path / "p.yaml"
    settings = {"data_root": str(tmp_path / "none"), "run_dir": str(tmp_path / "run")}
    profile.write_text(json.dumps(settings))
    done = CliRunner().invoke(app, ["train", "--profile", str(profile)])
    assert done.exit_code == 2
    assert done.stderr.count("paxray: ") == lines


@pytest.mark.parametrize(("env", "launcher"), [(TORCHRUN, "torchrun"), (SLURM, "slurm")])
def test_the_launcher_says_which_process_this_is(monkeypatch, env, launcher):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == Launch(launcher, rank=5, world=8, local_rank=1, local_world=4)


@pytest.mark.parametrize(
    "env", [{}, {"WORLD_SIZE": "4"}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}]
)
def test_other_processes_are_alone(monkeypatch, env):
    # a batch script without srun is one process
    for name, value in {"SLURM_JOB_NAME": "job", **env}.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == Launch()
    assert make_fabric("cpu", "float32").world_size == 1


@pytest.mark.parametrize(
    ("device", "count", "message"),
    [
        ("cuda:1", 8, "use 'auto', 'cuda' or 'cpu'"),
        ("cuda", 1, "4 processes on this machine, but each sees 1 GPUs"),
    ],
)
def test_a_device_that_several_processes_cannot_share(monkeypatch, device, count, message):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=message):
        make_fabric(device, "float32")


class Waits(Exception):
    pass


@pytest.mark.parametrize("name", ["job", "interactive", "bash"])
def test_slurm_is_taken_at_its_word_whatever_the_job_is_called(monkeypatch, name):
    env = {
        "SLURM_JOB_NAME": name,
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_NODEID": "1",
    }
    for key, value in {**SLURM, **env}.items():
        monkeypatch.setenv(key, value)

    def launch(fabric):  # would wait for the others
        environment = fabric.strategy.cluster_environment
        found = (
            environment.global_rank(),
            environment.world_size(),
            environment.local_rank(),
            environment.node_rank(),
        )
        assert found == (5, 8, 1, 1)
        assert fabric.strategy.num_nodes == 2
        raise Waits

    monkeypatch.setattr(fabric.Fabric, "launch", launch)
    with pytest.raises(Waits):
        make_fabric("cpu", "float32")


def test_srun_without_tasks_per_node_is_refused(monkeypatch):
    for key, value in {**SLURM, "SLURM_NTASKS": "8"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match="without --ntasks-per-node"):
        make_fabric("cpu", "float32")
    with pytest.raises(ValueError, match="without --ntasks-per-node"), joined():
        pass


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_looks_at_its_own_gpu_alone(monkeypatch, device):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)

    def find(name):
        assert name == "cuda:1"
        raise Waits

    monkeypatch.setattr(fabric, "find_device", find)
    with pytest.raises(Waits):
        make_fabric(device, "float32")


@pytest.mark.parametrize(
    ("joined", "rank", "prefix"), [(False, 1, ""), (True, 1, "[process 5] "), (False, 0, "")]
)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no space left"), "no space left\n"),
        (MemoryError(), "out of memory (no more can be had"),
        (KeyError("x"), "a fault of this program"),
    ],
)
def test_every_process_says_why_it_failed_once_they_have_joined(
    monkeypatch, capsys, joined, rank, prefix, error, words
):
    for name, value in {**TORCHRUN, "LOCAL_RANK": str(rank)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(collectives, "rank_and_world", lambda: (5, 8) if joined else (0, 1))
    with pytest.raises(type(error)) as raised, collectives.noting_process():
        raise type(error)(*error.args)
    assert command.report(raised.value) in (2, 3, 70)
    said = capsys.readouterr().err
    if joined or rank == 0:
        assert said.startswith(f"paxray: {prefix}{words}")
    else:
        assert said == ""
