"""The commands of docs/clusters.md, as a cluster would run them: two tasks of an array, killed and
started again, and their reports joined.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from helpers.sampledata import ROOT

PAGE = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
FILMS = sorted((ROOT / "data/examples").glob("*_*.[jp]*g"))


def block(first):
    """Return the block of the page that begins with these words."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE, re.MULTILINE)
    (found,) = [text for text in blocks if text.strip().startswith(first)]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE).strip() + "\n"


def task(folder, number, **options):
    """Start a task of the array as Slurm does: its number is in the environment."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": "7",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
    }
    command = ["bash", "-c", block("#!/bin/bash")]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, **options)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="its split is not GNU's")
def test_two_tasks_of_an_array_share_the_films_go_on_and_are_joined(tmp_path):
    assert len(FILMS) == 5
    (tmp_path / "films").mkdir()
    for film in FILMS:
        (tmp_path / "films" / film.name).write_bytes(film.read_bytes())
    (tmp_path / "films/broken.jpg").write_text("no film")
    splitting = block("find films").replace("r/100", "r/2")
    subprocess.run(["bash", "-c", splitting], cwd=tmp_path, check=True)
    assert sorted(path.name for path in tmp_path.glob("part_*")) == ["part_100.txt", "part_101.txt"]

    first = task(tmp_path, 100, start_new_session=True)
    masks = tmp_path / "masks"
    while not list(masks.glob("100/[!.]*.pxm")):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    codes = [process.wait() for process in (task(tmp_path, 100), task(tmp_path, 101))]

    joining = block("import pandas")
    subprocess.run([sys.executable, "-c", joining], cwd=tmp_path, check=True)
    report = pd.read_csv(tmp_path / "report.csv")
    assert sorted(Path(file).name for file in report["file"]) == sorted(
        [*(film.name for film in FILMS), "broken.jpg"]
    )
    failed = report[report["status"] == "failed"]
    assert [Path(file).name for file in failed["file"]] == ["broken.jpg"]
    assert codes == [int(part == failed["part"].item()) for part in (100, 101)]
    assert (report["status"] == "skipped").any()
    done = report[report["status"] != "failed"]
    assert all(Path(masks, str(r.part), r.output).is_file() for r in done.itertuples())
    assert len(pd.read_csv(masks / "101/measurements.csv")) == 3
