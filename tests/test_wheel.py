"""What the wheel holds. `make wheel-check` installs it, from the core to [all], and uses it."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from helpers.sampledata import ROOT

OURS = ("paxray_lib", "notebooks", "data/examples", "pyproject.toml", "README.md", "LICENSE")
MOST_BYTES = 60e6


@pytest.mark.slow
def test_it_has_every_file_of_the_package_the_notebooks_and_the_films(tmp_path):
    """Built from a copy: setuptools leaves files beside its sources."""
    project, out = tmp_path / "project", tmp_path / "dist"
    for name in OURS:
        source, target = ROOT / name, project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", out]
    command = [sys.executable, "-m", "pip", "wheel", *options, project]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run(list(map(str, command)), env=clean, check=True, capture_output=True)
    (wheel,) = out.iterdir()
    assert wheel.stat().st_size < MOST_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("paxray_lib", "notebooks", "data/examples"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix not in (".pyc", ".png") and "conftest" not in name:
                assert any(other.endswith(name) for other in names), name
