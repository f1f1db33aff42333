"""The page on training further: its commands, one after another, on films that are phantoms."""

import re
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.phantoms import phantom
from helpers.sampledata import ROOT
from PIL import Image
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.models import load_model, read_extra

PAGE = (ROOT / "docs/finetuning.md").read_text(encoding="utf-8")
# what makes each step short
SHORTER = {
    "sample": ["--cases", "4", "--size", "32"],
    "train": ["--set=image_size=32", "--set=crop_size=32", "--set=epochs=1"],
}


def write_films(folder):
    """Write four films in the layout of the page, with the lungs that are seen, and their split."""
    parts = {"left_lung": "lung_left", "right_lung": "lung_right", "heart": "heart"}
    for name in ("images", *parts):
        (folder / name).mkdir(parents=True)
    lines = ["id,split"]
    for case in range(4):
        name = f"p{case:02d}frontal"
        image, masks = phantom(0, case)["frontal"]
        Image.fromarray(image).save(folder / f"images/{name}.png")
        hidden = masks.union("diaphragm", "mediastinum_overall", "heart")
        for part, label in parts.items():
            mask = masks.union(label) & ~(hidden & (label != "heart"))
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{part}/{name}.png")
        lines.append(f"{name},{'val' if case == 3 else 'train'}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_films(tmp_path / "films")
    shutil.copytree(ROOT / "notebooks/profiles", "notebooks/profiles")
    commands = [shlex.split(line) for line in re.findall(r"^    paxray (.*)$", PAGE, re.MULTILINE)]
    steps = ["import", "check", "evaluate", "sample", "train", "evaluate", "predict"]
    assert [name for name, *_ in commands] == steps
    for name, *arguments in commands:
        result = CliRunner().invoke(app, [name, *arguments, *SHORTER.get(name, [])])
        assert result.exit_code == 0, result.output
    scores = [pd.read_csv(f"runs/mine_{when}/per_label.csv") for when in ("before", "after")]
    for table in scores:
        assert table["label"].tolist() == ["left_lung", "right_lung", "heart"]
        assert table["dice_present"].notna().all()
    config = read_extra("runs/finetune/checkpoints/best.ckpt")["config"]
    assert (config["init_from"], config["epochs"]) == ("open", 1)
    assert load_model("runs/finetune/checkpoints/best.ckpt").labels == load_model("open").labels
    assert len(list((tmp_path / "masks").glob("*.pxm"))) == 4


def test_the_map_on_the_page_is_that_of_the_package():
    lines = re.findall(r"^    (\w+): ([a-z_ -]+)$", PAGE, re.MULTILINE)
    assert yaml.safe_load((ROOT / "paxray_lib/labels/maps/wingspan.yaml").read_text()) == dict(
        lines
    )
