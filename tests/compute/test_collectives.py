import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.datafiles import rewrite
from helpers.sampledata import write_tiny
from helpers.tiny_models import tiny_model
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.compute.collectives import (
    from_first,
    gather,
    gather_items,
    is_first,
    joined,
    rank_and_world,
)
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.checkpoints import save_model
from paxray_lib.utils.manifest import NAME, read_manifest


def torchrun(processes, *arguments, **options):
    """Run `python -m arguments` (or a script) in several processes and return the finished
    torchrun.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        **options,
    )


def test_alone_nothing_changes():
    with joined():
        assert rank_and_world() == (0, 1)
        assert is_first()
        assert gather("x") == ["x"]
        assert gather_items(range(3)) == [0, 1, 2]
        assert from_first(lambda: 5) == 5


SCRIPT = """
import sys
from paxray_lib.compute.collectives import from_first, gather, gather_items, joined, rank_and_world

def refuse():
    raise FileNotFoundError("no such file: x")

with joined(), joined():
    rank, world = rank_and_world()
    whole = list(range(2**53 + 1, 2**53 + 8))
    assert gather_items(whole[rank::world]) == whole
    assert gather(rank) == [0, 1]
    assert from_first(lambda: rank) == 0
    try:
        from_first(refuse)
    except (ValueError, OSError) as error:
        assert str(error) == "no such file: x"
    else:
        sys.exit("not refused")
assert rank_and_world() == (0, 1)
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = torchrun(2, script)
    assert done.returncode == 0, done.stderr


BROKEN = """
import os, sys
from paxray_lib.cli import command, main
from paxray_lib.compute import collectives

@command.command
def work():
    with collectives.joined():
        if collectives.rank_and_world()[0] == 1:
            {event}
        collectives.gather(1)

sys.argv = ["paxray", "work"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("os.kill(os.getpid(), 9)", ""),
        ("raise ValueError('x.png: broken')", "[process 1] x.png: broken"),
    ],
)
def test_a_process_that_ends_is_no_fault_of_the_other(tmp_path, event, words):
    script = tmp_path / "script.py"
    script.write_text(BROKEN.replace("{event}", event))
    done = torchrun(2, script, cwd=tmp_path)
    assert done.returncode == 1  # torchrun's own
    said = [line for line in done.stderr.splitlines() if line.startswith("paxray: ")]
    assert any(words in line for line in said) or not words
    for line in set(said) - {line for line in said if "[process 1]" in line}:
        assert "another process ended" in line or "stopped by SIGTERM" in line


@pytest.mark.slow
def test_two_processes_of_srun_agree(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    names = {
        "SLURM_NTASKS": 2,
        "SLURM_NTASKS_PER_NODE": 2,
        "SLURM_STEP_NUM_TASKS": 2,
        "SLURM_JOB_NAME": "test",
        "SLURM_JOB_ID": os.getpid(),
    }
    names |= {"SLURM_NODELIST": "localhost", "OMP_NUM_THREADS": 1}
    started = []
    for rank in range(2):
        environment = {**os.environ, **{key: str(value) for key, value in names.items()}}
        environment |= {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        started.append(
            subprocess.Popen(
                [sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment
            )
        )
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    save_model(path, tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (32, 32))))
    return path


def both_ways(tmp_path, verb, *arguments):
    """Run a command in this process and in two; return their folders and how they ended."""
    folders = tmp_path / "one", tmp_path / "two"
    commands = [[verb, *arguments, "--device", "cpu", "--out", folder] for folder in folders]
    alone = CliRunner().invoke(app, list(map(str, commands[0])))
    return *folders, alone, torchrun(2, "-m", "paxray_lib", *commands[1])


@pytest.mark.slow
def test_evaluation_by_two_processes_is_that_by_one(weights, tmp_path):
    root = tmp_path / "data"
    write_tiny(root, labels=LabelSet(["left_lung", "pacemaker", "heart"]))
    rewrite(root, lambda content: content["test"].pop())  # three are left
    (tmp_path / "map.yaml").write_text("heart: heart\nleft_lung: lung_left - heart\n")
    arguments = ["--weights", weights, "--data-root", root, "--map", tmp_path / "map.yaml"]
    one, two, alone, together = both_ways(tmp_path, "evaluate", *arguments)
    assert alone.exit_code == together.returncode == 0, together.stderr
    # other images in a batch round otherwise: a pixel may cross the threshold; an image too many or
    # too few is far off
    with np.load(one / "counts.npz") as a, np.load(two / "counts.npz") as b:
        assert sorted(a) == sorted(b)
        assert len(a["names"]) == 2
        for name in a:
            assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
            if a[name].dtype.kind == "U":
                np.testing.assert_array_equal(a[name], b[name])
            elif name != "surface_hd95":
                np.testing.assert_allclose(a[name], b[name], atol=2)
    scores, again = (
        json.loads((folder / "summary.json").read_text())["overall"] for folder in (one, two)
    )
    assert again["images"] == scores["images"] == 3
    assert again["iou_present"] == pytest.approx(scores["iou_present"], abs=1e-4)
    assert together.stdout.count("iou_present ") == 1  # one of them speaks


def without_times(entries):
    """Return manifest entries without the times of sources, which files of just now do not have."""
    return {
        output: entry | {"sources": {name: [s[0], s[3]] for name, s in entry["sources"].items()}}
        for output, entry in entries.items()
    }


@pytest.mark.slow
def test_prediction_by_two_processes_is_that_by_one(tiny, weights, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((tiny / "images").iterdir())[:6]:
        (images / path.name).write_bytes(path.read_bytes())
    (images / "broken.png").write_bytes(b"no image")
    one, two, alone, together = both_ways(
        tmp_path, "predict", "--images", images, "--weights", weights
    )
    assert alone.exit_code == together.returncode == 1, together.stderr
    assert together.stderr.count("failed: ") == 1
    assert together.stdout == alone.stdout.replace("/one/", "/two/")
    for name in ("report.csv", "settings.json"):
        assert (two / name).read_text() == (one / name).read_text()
    names = {path.name for path in two.glob("[!.]*")}  # locks are hidden
    assert names == {path.name for path in one.glob("[!.]*")}
    outputs = [name for name in names if name.endswith(".pxm")]
    assert len(outputs) == 6
    for name in outputs:
        differs = PackedMasks.read(two / name).unpack() != PackedMasks.read(one / name).unpack()
        assert differs.mean() < 1e-4  # rounding may depend on the number of threads
    assert without_times(read_manifest(one)) == without_times(read_manifest(two))

    # cut off before the manifests came together; then one process goes on
    lines = (two / NAME).read_text().splitlines()
    (two / NAME).write_text("\n".join(lines[:-3]) + "\n")
    (two / "manifest.1.jsonl").write_text("\n".join(lines[-3:-1]) + "\n")
    (two / json.loads(lines[-1])["output"]).unlink()
    again = torchrun(
        2, "-m", "paxray_lib", "predict", "--images", images, "--weights", weights, "--out", two
    )
    assert "1 ok, 5 skipped, 1 failed" in again.stdout, again.stderr
    assert pd.read_csv(two / "report.csv")["status"].value_counts().to_dict() == {
        "skipped": 5,
        "ok": 1,
        "failed": 1,
    }
    assert not list(two.glob("manifest.*.jsonl"))


@pytest.mark.slow
def test_a_refusal_by_the_first_process_ends_all(tiny, weights, tmp_path):
    arguments = (
        "predict",
        "--weights",
        weights,
        "--images",
        tiny / "images",
        "--out",
        tmp_path / "out",
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text("{}")
    done = torchrun(2, "-m", "paxray_lib", *arguments, "--device", "cpu")
    assert done.returncode != 0
    assert "holds predictions with other" in done.stderr
    assert "manifest.1.jsonl" not in {path.name for path in (tmp_path / "out").iterdir()}
