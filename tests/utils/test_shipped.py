"""Notebooks, profiles and films copied out of the package."""

import importlib.metadata
from pathlib import Path

import pytest
from helpers.sampledata import ROOT
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images import read_image
from paxray_lib.runs.plan import project_root
from paxray_lib.utils import shipped


def test_what_is_copied_is_a_project_to_work_in(tmp_path, monkeypatch):
    copied = shipped.copy_notebooks(tmp_path)
    assert [path.name for path in copied] == [
        path.name for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
    ]
    assert (tmp_path / "notebooks/profiles/demo.yaml").is_file()
    assert read_image(tmp_path / "data/examples/haggstrom_frontal.jpg").view == "frontal"
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_root() == tmp_path


def test_ones_own_work_is_never_written_over(tmp_path):
    copied = shipped.copy_notebooks(tmp_path)
    copied[1].write_text("mine")
    copied[0].unlink()
    done = CliRunner().invoke(app, ["notebooks", str(tmp_path)])
    assert done.exit_code == 2
    assert f"{copied[1].name}: is there already" in done.output
    assert copied[1].read_text() == "mine"
    assert not copied[0].exists()
    copied[1].unlink()
    assert shipped.copy_notebooks(tmp_path) == copied


def test_a_package_without_them_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "a/b/c.py"))
    monkeypatch.setattr(importlib.metadata, "files", lambda _: None)
    with pytest.raises(FileNotFoundError, match="install a wheel, or clone"):
        shipped.copy_notebooks(tmp_path / "out")
    assert not Path(tmp_path, "out").exists()
