"""The wheel without the repository: what it holds, and that it works. `make wheel-check` installs
it for real, from the core to [all].
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from helpers.sampledata import ROOT

pytestmark = pytest.mark.slow
OURS = ("paxray_lib", "notebooks", "data/examples", "pyproject.toml", "README.md", "LICENSE")
MOST_BYTES = 60e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: setuptools leaves files beside its sources."""
    project, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    for name in OURS:
        source, target = ROOT / name, project / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", out)
    run(sys.executable, "-m", "pip", "wheel", *options, project)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def whole(wheel, tmp_path_factory):
    """A new environment with the wheel, and the packages of this one as [all]."""
    folder = tmp_path_factory.mktemp("whole")
    run(sys.executable, "-m", "venv", folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # a path in a .pth file: an editable installation there does not count
    (site / "those.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(folder / "bin/python", "-m", "pip", "install", "--no-deps", "--force-reinstall", wheel)
    return folder / "bin"


def run(*command, cwd=None, check=True):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=clean, check=check, capture_output=True, text=True
    )


def test_it_is_whole_and_passes_the_checks_of_an_upload(wheel):
    assert wheel.stat().st_size < MOST_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("paxray_lib", "notebooks", "data/examples"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix not in (".pyc", ".png") and "conftest" not in name:
                assert any(other.endswith(name) for other in names), name
    tools = Path(sys.executable).parent
    run(tools / "twine", "check", "--strict", wheel)
    run(tools / "check-wheel-contents", wheel, cwd=ROOT)


def test_with_what_it_needs_it_predicts_and_shows(whole, tmp_path):
    run(whole / "paxray", "notebooks", tmp_path)
    (film,) = (tmp_path / "data/examples").glob("hannover_bed*")
    run(whole / "paxray", "predict", "--images", film, "--out", "p", "--measure", cwd=tmp_path)
    code = """
import sys, paxray_lib
from paxray_lib import LabelViewer, TrainConfig, evaluate, fit, load_model
assert "site-packages" in paxray_lib.__file__
assert len(load_model("open").labels) == 166
print(LabelViewer(sys.argv[1], sys.argv[2]))
"""
    (masks,) = (tmp_path / "p").glob("*.pxm")
    shown = run(whole / "python", "-c", code, film, masks, cwd=tmp_path)
    assert "LabelViewer" in shown.stdout
    arguments = ("--profile", "notebooks/profiles/demo.yaml", "--set", "notebooks=[05_visualize]")
    planned = run(whole / "paxray", "run", *arguments, cwd=tmp_path, check=False)
    assert planned.returncode == 2
    assert "05_visualize_labels" in planned.stderr
