"""Extras: what says which one is missing agrees with pyproject.toml, and the core does without."""

import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from helpers.sampledata import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from paxray_lib.utils.extras import EXTRAS, missing_extra

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = metadata.packages_distributions()
# brought by another package of the extra
BROUGHT = {"huggingface_hub", "timm", "IPython"}
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRAS)}))
"""


def names(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def brought_by(package):
    """Names of what is installed that has a package, as it is imported."""
    return {canonicalize_name(name) for name in DISTRIBUTIONS[package]}


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("package", sorted(set(EXTRAS) - BROUGHT))
def test_an_extra_brings_what_it_is_said_to_bring_and_the_core_does_not(package):
    distributions = brought_by(package)
    assert distributions & names(PROJECT["optional-dependencies"][EXTRAS[package]])
    assert not distributions & names(PROJECT["dependencies"])


def test_every_package_of_an_extra_has_its_line():
    said = set().union(*map(brought_by, EXTRAS))
    unnamed = {"jupyterlab", PROJECT["name"]}  # a program; the project's own other extras
    for extra in ("train", "ct", "dicom", "notebooks"):
        assert names(PROJECT["optional-dependencies"][extra]) - unnamed <= said


def test_other_missing_modules_are_no_extras():
    assert missing_extra(ModuleNotFoundError(name="paxray_lib.nothing")) is None
    assert missing_extra(ValueError("torch")) is None


def test_public_names_say_what_they_lack():
    done = run("from paxray_lib import load_model")
    line = 'load_model: torch is not installed, and this needs it: pip install "paxray-lib[train]"'
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {line}"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("train --profile notebooks/profiles/demo.yaml", "train"),
        ("predict --images data/examples --out o --precision bfloat16", "train"),
        ("evaluate --weights open --data-root o", "train"),
        ("export onnx --out o.onnx", "train"),
        ("project --ct x --segmentation y --out o", "train|ct"),
    ],
)
def test_commands_say_in_one_line_what_they_lack(arguments, extra, tmp_path):
    done = run("from paxray_lib.cli import main\nmain()", *arguments.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert any(f'pip install "paxray-lib[{one}]"' in done.stderr for one in extra.split("|"))


def test_the_core_draws_counts_and_converts(tiny, tmp_path):
    image, masks = (sorted((tiny / name).iterdir())[0] for name in ("images", "labels"))
    main = "from paxray_lib.cli import main\nmain()"
    drawn = run(main, "overlay", "--image", image, "--masks", masks, "--out", tmp_path / "o.png")
    assert (drawn.returncode, drawn.stderr) == (0, "")
    listed = run(main, "labels", "heart")
    assert listed.returncode == 0
    assert "heart" in listed.stdout
    code = """
from paxray_lib import LABELS, LabelSet, PackedMasks, visualize_label
masks = PackedMasks.read(sys.argv[1])
masks.write(sys.argv[2])
assert PackedMasks.read(sys.argv[2]) == masks
"""
    for name in ("m.pxm", "m.npy", "m.json"):
        done = run(code, masks, tmp_path / name)
        assert (done.returncode, done.stderr) == (0, "")
