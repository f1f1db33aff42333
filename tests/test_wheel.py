"""The wheel, in new environments without the repository: what it holds, and that it works."""

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
MOST_BYTES, MOST_CORE_MIB = 60e6, 500


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
def core(wheel, tmp_path_factory):
    """A new environment with the wheel and what it brings, from the package index."""
    folder = tmp_path_factory.mktemp("core")
    run(sys.executable, "-m", "venv", folder)
    before = size_mib(folder)
    try:
        run(folder / "bin/python", "-m", "pip", "install", "--timeout", "5", wheel)
    except subprocess.CalledProcessError as error:
        if "Could not find a version" in error.stderr or "onnection" in error.stderr:
            pytest.skip("no package index in reach")
        raise
    assert size_mib(folder) - before < MOST_CORE_MIB
    return folder / "bin"


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


def size_mib(folder: Path) -> float:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) / 2**20


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


def test_the_core_alone(core, tmp_path):
    run(core / "paxray", "notebooks", tmp_path)
    (film,) = (tmp_path / "data/examples").glob("hannover_bed*")
    code = """
import sys, numpy as np
from paxray_lib import LABELS, PackedMasks
from paxray_lib.images import read_image
pixels = read_image(sys.argv[1]).pixels
masks = PackedMasks.pack(np.stack([pixels > i / 166 for i in range(166)]), LABELS)
masks.write("m.pxm")
"""
    run(core / "python", "-c", code, film, cwd=tmp_path)
    arguments = ("--image", film, "--masks", "m.pxm", "--out", "o.png", "--labels", "heart,aorta")
    run(core / "paxray", "overlay", *arguments, cwd=tmp_path)
    assert (tmp_path / "o.png").is_file()
    assert "heart" in run(core / "paxray", "labels").stdout
    pages = ("--overlays", "--report", "--measure")
    run(core / "paxray", "predict", "--images", film, "--out", tmp_path / "p", *pages)
    assert (tmp_path / "p/report.html").is_file()
    code = """
import sys
from paxray_lib import predict
print(predict("open", sys.argv[1], "p")["status"].tolist())
from paxray_lib import load_model
"""
    refused = run(core / "python", "-c", code, film, cwd=tmp_path, check=False)
    assert refused.stdout == "['skipped']\n"
    assert 'pip install "paxray-lib[train]"' in refused.stderr


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
