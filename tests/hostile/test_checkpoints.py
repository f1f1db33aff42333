"""Damaged and hostile weights, settings of a training that cannot be, and what comes between."""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import time
import zipfile
from unittest import mock

import pandas as pd
import pytest
import torch
import yaml
from helpers.checkpoints import changed, repacked, tiny_checkpoint, with_weight, zeroed
from helpers.datafiles import rewrite
from helpers.hostile import Case, cases, run_case
from helpers.sampledata import TINY, small_training

from paxray_lib.models.checkpoints import load_model, read_extra
from paxray_lib.training import loop, losses

PREDICT = "predict --images {here} --out {here}/out --weights {here}/x.ckpt"
UNET = {"architecture": "unet", "encoder": TINY}


class _Payload:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def weights(make, name="x.ckpt"):
    """Return what writes the bytes that `make` returns as weights."""
    return lambda here: (here / name).write_bytes(make())


def saved(content, **options):
    def make():
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        return buffer.getvalue()

    return weights(make)


def bit_flipped(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def safetensors_of_two_kinds():
    kinds = (
        f'"a": {{"dtype": "{kind}", "shape": [1], "data_offsets": [0, 4]}}'
        for kind in ("F32", "I32")
    )
    header = f"{{{', '.join(kinds)}}}".encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@cases(
    (
        "zeros in a tensor",
        weights(lambda: zeroed(tiny_checkpoint())),
        *(PREDICT, 2, r"x\.ckpt: damaged .*checksum of \S*/data/\d+ is wrong\); fetch"),
    ),
    (
        "one bit of a tensor",
        weights(lambda: bit_flipped(tiny_checkpoint())),
        *(PREDICT, 2, r"x\.ckpt: damaged .*checksum of \S*/data/\d+ is wrong\); fetch"),
    ),
    (
        "two files in one",
        weights(lambda: tiny_checkpoint() + tiny_checkpoint()),
        *(PREDICT, 2, r"x\.ckpt: damaged .*something stands before its first member\); fetch"),
    ),
    (
        "packed again with compression",
        weights(lambda: repacked(tiny_checkpoint(), method=zipfile.ZIP_DEFLATED)),
        *(PREDICT, 2, r"x\.ckpt: damaged .*packed again: .* is compressed.*; fetch"),
    ),
    (
        "packed again with a changed tensor",
        weights(
            lambda: repacked(
                tiny_checkpoint(),
                lambda name, data: [(name, bytes(len(data)) if name.endswith("/0") else data)],
            )
        ),
        *(PREDICT, 2, r"x\.ckpt: damaged checkpoint .*digest says that model was changed"),
    ),
    (
        "a second member of one name",
        weights(lambda: repacked(tiny_checkpoint(), lambda name, data: [(name, data)] * 2)),
        *(PREDICT, 2, r"x\.ckpt: damaged .*two of its members have one name"),
    ),
    (
        "cut in half",
        weights(lambda: tiny_checkpoint()[: len(tiny_checkpoint()) // 2]),
        *(PREDICT, 2, r"x\.ckpt: damaged or cut short"),
    ),
    ("empty", weights(lambda: b""), PREDICT, 2, r"x\.ckpt: the file is empty; copy or fetch"),
    ("text", weights(lambda: b"hello\n" * 99), PREDICT, 2, r"x\.ckpt: cannot be read as weights"),
    ("a pipe", lambda here: os.mkfifo(here / "x.ckpt"), PREDICT, 2, r"x\.ckpt: a named pipe"),
    ("a folder", lambda here: (here / "x.ckpt").mkdir(), PREDICT, 2, r"x\.ckpt/config\.json: no"),
    (
        "a device",
        lambda here: (here / "x.ckpt").symlink_to("/dev/zero"),
        *(PREDICT, 2, r"x\.ckpt: a device"),
    ),
    (
        "code in a pickle",
        saved({"model": _Payload()}),
        *(PREDICT, 2, r"x\.ckpt: .*could run code, which is refused \(it asks for posix\.mkdir\)"),
    ),
    (
        "code in a pickle of old torch",
        saved({"model": _Payload()}, _use_new_zipfile_serialization=False),
        *(PREDICT, 2, r"x\.ckpt: .*could run code, which is refused \(it asks for posix\.mkdir\)"),
    ),
    (
        "a tensor of NaN",
        weights(lambda: with_weight(float("nan"), "weight")),
        *(PREDICT, 2, r"x\.ckpt: encoder\.model\.conv1\.0\.weight has values that are not finite"),
    ),
    (
        "infinity",
        weights(lambda: with_weight(float("inf"))),
        *(PREDICT, 2, r"x\.ckpt: \S+\.running_var has values that are not finite.*use another"),
    ),
    (
        "a negative variance",
        weights(lambda: with_weight(-0.1)),
        *(PREDICT, 2, r"x\.ckpt: \S+\.running_var has a negative variance \(-0\.1\)"),
    ),
    (
        "a head that the decoder cannot have",
        weights(lambda: changed(config={**UNET, "architecture": "fpn", "head_stride": 2})),
        *(PREDICT, 2, r"x\.ckpt: head_stride is 2: must be 1, or for the architecture 'unet' 2"),
    ),
    (
        "a billion channels",
        weights(lambda: changed(config={**UNET, "decoder_channels": 10**9})),
        *(PREDICT, 2, r"x\.ckpt: damaged checkpoint \(config .*decoder_channels.*copy it again"),
    ),
    (
        "an encoder that is a path",
        weights(lambda: changed(config={**UNET, "encoder": "tu-../../x"})),
        *(PREDICT, 2, r"x\.ckpt: unknown encoder 'tu-\.\./\.\./x'; for instance resnet18"),
    ),
    (
        "an encoder from a hub",
        weights(lambda: changed(config={**UNET, "encoder": "tu-hf-hub:some/thing"})),
        *(PREDICT, 2, r"x\.ckpt: unknown encoder 'tu-hf-hub:some/thing'"),
    ),
    (
        "preprocessing of 43 GB",
        weights(lambda: changed(preprocessing={"kind": "standard", "size": [60000, 60000]})),
        *(PREDICT, 2, r"x\.ckpt: .*size \[60000, 60000\].* up to 4096"),
    ),
    (
        "a version that is a tensor",
        weights(lambda: changed(version=torch.ones(3))),
        *(PREDICT, 2, r"x\.ckpt: damaged checkpoint \(version tensor"),
    ),
    (
        "labels that were exchanged",
        weights(lambda: changed(signed=False, labels=["b", "a", "c"])),
        *(PREDICT, 2, r"x\.ckpt: .*digest says that labels was changed"),
    ),
    (
        "safetensors with a tensor of two kinds",
        weights(safetensors_of_two_kinds, "x.safetensors"),
        PREDICT.replace("x.ckpt", "x.safetensors"),
        *(2, r"x\.safetensors: .*key 'a' stands twice"),
    ),
)
def test_weights(case, hostile):
    hostile(case)


def profile(**settings):
    """Return what writes a profile of a tiny training."""

    def make(here):
        content = {**small_training(here / "data", here / "run"), **settings}
        (here / "p.yaml").write_text(yaml.safe_dump(content))

    return make


TRAIN = "train --profile {here}/p.yaml --set data_root={data}"
# by each setting: values, and what is said of them
NUMBERS = {
    "image_size": ([0, -1, 10**6, 10**30, float("nan"), float("inf"), 1e30], "image_size"),
    "crop_size": ([0, -1, 10**6, float("nan")], "crop_size"),
    "resize_prob": ([-1, 1.5, 1e30, float("nan")], "resize_prob"),
    "resize_scale": ([0, -1, 1e9, float("inf"), float("nan")], "resize_scale"),
    "flip_prob": ([-1, 2, float("nan")], "flip_prob"),
    "rotate_degrees": ([-1, 1e30, float("inf")], "rotate_degrees"),
    "zoom": ([-1, 1, float("nan")], "zoom"),
    "noise": ([-1, 1e30, float("nan")], "noise"),
    "batch_size": ([0, -1, 10**9, 10**30, float("nan"), 1e30], "batch_size"),
    "accumulate": ([0, -1, 10**30], "accumulate"),
    "epochs": ([0, -1, 10**30, float("inf")], "epochs"),
    "learning_rate": ([0, -1, 1e30, float("inf"), float("nan")], "learning_rate"),
    "weight_decay": ([-1, 1e30, float("nan")], "weight_decay"),
    "lr_gamma": ([0, -1, 1e30, float("nan")], "lr_gamma"),
    "lr_milestones": ([[-1], [10**9], list(range(1000)), 5], "lr_milestones"),
    "threshold": ([0, 1, -1, float("nan")], "threshold"),
    "val_every": ([0, -1, 10**30], "val_every"),
    "save_every": ([-1, 10**30, float("nan")], "save_every"),
    "log_every": ([0, -1, 10**30], "log_every"),
    "gradient_clip": ([-1, 1e30, float("inf"), float("nan")], "gradient_clip"),
    "seed": ([-1, 10**24, float("nan"), 1e30], "seed"),
    "workers": ([-1, 10**9], "workers"),
    "run_dir": ([""], "run_dir must be text that is not empty"),
    "data_root": ([""], "data_root must be text that is not empty"),
    "datafile": ([""], "datafile must be text that is not empty"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_settings_out_of_range_are_refused_before_anything_is_written(name, tmp_path):
    values, words = NUMBERS[name]
    for value in values:
        case = Case(name, profile(**{name: value}), "train --profile {here}/p.yaml", 2, words)
        said = run_case(case, here=tmp_path)
        assert len(said.splitlines()) == 1, said
        assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def damaged(change, name="last.ckpt"):
    """Return what writes a profile, and changes the bytes of a trained checkpoint."""

    def make(here):
        profile()(here)
        path = here / "run/checkpoints" / name
        path.write_bytes(change(path.read_bytes()))

    return make


def without(*names):
    """Return what writes a profile, and removes files of a trained run."""

    def make(here):
        profile()(here)
        for name in names:
            (here / "run" / name).unlink()

    return make


def with_extra(change):
    """Return a change of a checkpoint's extra, with a digest of it as it was."""

    def make(data):
        content = torch.load(io.BytesIO(data), weights_only=True)
        change(content["extra"])
        buffer = io.BytesIO()
        torch.save({key: value for key, value in content.items() if key != "digests"}, buffer)
        return buffer.getvalue()

    return make


def wrong_optimizer(extra):
    extra["optimizer"]["state"][0]["exp_avg"] = torch.zeros(3)


LAST = "checkpoints/last.ckpt"


@cases(
    (
        "zeros in the last checkpoint",
        damaged(zeroed),
        *(TRAIN + " --resume", 2, r"last\.ckpt: damaged .*checksum of \S+ is wrong\); fetch"),
    ),
    (
        "a best checkpoint for the last",
        lambda here: (
            shutil.copy(here / "run/checkpoints/best.ckpt", here / "run" / LAST) and profile()(here)
        ),
        *(
            TRAIN + " --resume",
            2,
            r"last\.ckpt: a training cannot go on from it \(it holds no optimizer, as a best\.",
        ),
    ),
    (
        "an optimizer of other shapes",
        damaged(with_extra(wrong_optimizer)),
        *(TRAIN + " --resume", 2, r"last\.ckpt: .*optimizer is that of another network"),
    ),
    (
        "a state that is none",
        damaged(with_extra(lambda extra: extra.update(state={"epoch": "x", "more": 1}))),
        *(TRAIN + " --resume", 2, r"last\.ckpt: a training cannot go on from it"),
    ),
    (
        "an extra that is none",
        damaged(with_extra(lambda extra: extra.clear())),
        *(
            TRAIN + " --resume",
            2,
            r"last\.ckpt: a training cannot go on.*KeyError: 'config'\); put",
        ),
    ),
    (
        "the last checkpoint gone",
        without(LAST),
        *(TRAIN, 2, r"run holds best\.ckpt and metrics\.csv, but not last\.ckpt.*put it back, or"),
    ),
    (
        "the last checkpoint gone, with --resume",
        without(LAST),
        *(TRAIN + " --resume", 2, r"run holds best\.ckpt and metrics\.csv, but not last\.ckpt"),
    ),
    (
        "only the metrics left",
        without(LAST, "checkpoints/best.ckpt"),
        *(TRAIN, 2, r"run holds metrics\.csv, but not last\.ckpt"),
    ),
    (
        "somebody's config.yaml",
        without(LAST, "checkpoints/best.ckpt", "metrics.csv"),
        *(TRAIN, 2, r"run holds config\.yaml, but no checkpoints; resume, which begins a training"),
    ),
    ("a training already", profile(), TRAIN, 2, r"run holds a training already; resume it, or"),
    (
        "other settings",
        profile(batch_size=4),
        *(TRAIN + " --resume", 2, r"last\.ckpt was trained with other settings: batch_size \(was"),
    ),
    (
        "labels that were exchanged",
        lambda here: [
            profile()(here),
            rewrite(here / "data", lambda data: data["label_dict"].update({"0": "t1", "41": "t2"})),
        ],
        *(TRAIN + " --resume", 2, r"trained with other settings: labels of paxray\.json"),
    ),
    (
        "other data",
        lambda here: [
            profile()(here),
            rewrite(here / "data", lambda content: content["train"].reverse()),
        ],
        *(TRAIN + " --resume", 2, r"trained with other settings: training images of paxray\.json"),
    ),
)
def test_folders_and_resumes(case, hostile, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")}
    hostile(case)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")}
    changed_by_case = {tmp_path / "run" / LAST}
    assert {path for path in after if before.get(path) != after[path]} <= changed_by_case


@cases(
    (
        "a damaged metrics.csv",
        lambda here: (here / "run/metrics.csv").write_bytes(b"\0=cmd\n,,,") and profile()(here),
        *(TRAIN + " --resume", 0, r"resumed at epoch 3"),
    ),
    (
        "a run folder that is a file",
        lambda here: profile(run_dir=str(here / "p.yaml"))(here),
        *(TRAIN, 2, r"p\.yaml is a file, but run_dir must be a folder; choose another"),
    ),
)
def test_what_a_resume_mends(case, hostile, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    hostile(case)
    tables = [pd.read_csv(folder / "metrics.csv") for folder in (trained, tmp_path / "run")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@contextlib.contextmanager
def at_step(number, happens):
    """Call a function before one of an optimizer's steps, counted from 1."""
    step, taken = torch.optim.AdamW.step, []

    def watched(self, *arguments, **options):
        taken.append(self)
        if len(taken) == number:
            happens()
        return step(self, *arguments, **options)

    with mock.patch.object(torch.optim.AdamW, "step", watched):
        yield


def signalled(name):
    """Send a signal to this process and to its workers, as a terminal or SLURM does."""
    for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
        os.kill(process.pid, getattr(signal, name))


TRAIN_ALONE = "train --profile {here}/p.yaml"
RESUME = TRAIN_ALONE + " --resume"


def end_by(name, here, make):
    """Let a signal come in the second step of a training, and check that its state is saved."""
    reason = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    words = rf"paxray: stopped after 0 epochs and 2 steps: {reason}; the last good .*--resume"
    with at_step(2, lambda: signalled(name)):
        said = run_case(Case(name, make, TRAIN_ALONE, 3, words), here=here)
    assert sum(line.startswith("paxray: ") for line in said.splitlines()) == 1
    assert read_extra(here / "run" / LAST)["state"]["step"] == 2


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_a_signal_ends_a_training_after_its_step(name, tiny, tmp_path):
    end_by(name, tmp_path, profile(data_root=str(tiny)))


def test_a_signal_ends_a_validation_at_once(tiny, tmp_path):
    def interrupted(*_, **__):
        signalled("SIGTERM")
        time.sleep(60)

    words = r"paxray: stopped after 0 epochs and 3 steps: stopped by SIGTERM; the last good .*last"
    with mock.patch.object(loop, "count_dataset", interrupted):
        make = profile(data_root=str(tiny))
        run_case(Case("", make, TRAIN_ALONE, 3, words), here=tmp_path)
    assert read_extra(tmp_path / "run" / LAST)["state"]["step"] == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_that_a_signal_ended_goes_on_to_the_bit(workers, tiny, trained, tmp_path):
    make = profile(data_root=str(tiny), workers=workers)
    end_by("SIGTERM", tmp_path, make)
    run_case(Case("", make, RESUME, 0, "resumed"), here=tmp_path)
    one, other = (load_model(folder / LAST) for folder in (trained, tmp_path / "run"))
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@pytest.mark.slow  # torch waits for the worker
# torch raises from a signal, also where nothing can be raised
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_stops_a_training(tiny, tmp_path):
    def kill():
        multiprocessing.active_children()[0].kill()

    words = (
        r"paxray: .*a process that reads samples has ended; .*fewer workers; no checkpoint.*--res"
    )
    make = profile(data_root=str(tiny), workers=1)
    with at_step(1, kill):
        run_case(Case("", make, TRAIN_ALONE, 3, words), here=tmp_path)
    run_case(Case("", make, RESUME, 0, "done: "), here=tmp_path)


def test_a_full_disk_while_a_checkpoint_is_written(tiny, trained, tmp_path):
    save, saved = torch.save, []

    def full(content, path):
        saved.append(path)
        save(content, path)
        if len(saved) == 2:  # best.ckpt
            raise RuntimeError(
                "[enforce fail at inline_container.cc:672] . unexpected pos 128 vs 4"
            )

    make = profile(data_root=str(tiny))
    words = r"paxray: stopped after 0 epochs and 3 steps: .*ckpt: .*is the disk full\?; .*--resume"
    with mock.patch.object(torch, "save", full):
        run_case(Case("", make, TRAIN_ALONE, 3, words), here=tmp_path)
    assert not list((tmp_path / "run").rglob("*.part*"))
    run_case(Case("", make, RESUME, 0, "done: "), here=tmp_path)
    tables = [
        pd.read_csv(folder / "metrics.csv").drop(columns="seconds")
        for folder in (trained, tmp_path / "run")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_loss_that_is_no_number_and_a_lack_of_memory_stop_a_training(tiny, tmp_path):
    def without_memory(logits, *_, **__):
        return logits.new_empty(2**60).sum()

    for loss, words in (
        (
            lambda logits, *_, **__: logits.sum() * float("nan"),
            r"the loss is nan at step 0 \(images case",
        ),
        (without_memory, r"out of memory with batches of 3 .*smaller batch_size"),
    ):
        with mock.patch.dict(losses.LOSSES, {"own": loss}):
            make = profile(data_root=str(tiny), loss="own")
            run_case(Case("", make, RESUME, 3, words), here=tmp_path)
        assert not (tmp_path / "run/checkpoints").exists()
