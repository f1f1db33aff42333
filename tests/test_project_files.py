"""The project's own files agree with each other: pyproject.toml, the lock, conda's environment,
Makefile, CI, git.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from helpers.sampledata import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from paxray_lib.images.read import read_image

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))


def locked(lock: str = LOCK) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its hashes."""
    entries = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE)).splitlines()
    split = [entry.split("--hash=") for entry in entries if entry.strip()]
    return [(Requirement(first.strip()), [h.strip() for h in hashes]) for first, *hashes in split]


def pins(python: str, platform: str, machine: str) -> dict[str, str]:
    """Version by package that the lock selects on one kind of machine."""
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.8",
        "sys_platform": platform,
        "platform_machine": machine,
        "os_name": "posix",
    }
    chosen = [r for r, _ in locked() if r.marker is None or r.marker.evaluate(environment)]
    assert len({r.name for r in chosen}) == len(chosen), "a package is pinned twice on one machine"
    return {canonicalize_name(r.name): next(iter(r.specifier)).version for r in chosen}


def wanted() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lists = [PROJECT["dependencies"], *extras, PYPROJECT["build-system"]["requires"]]
    every = [Requirement(text) for requirements in lists for text in requirements]
    return [requirement for requirement in every if requirement.name != PROJECT["name"]]


def tracked_files() -> list[str]:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run make with a clean environment: a test may itself run under make, whose flags would leak
    in.
    """
    environment = {
        k: v
        for k, v in os.environ.items()
        if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SLOW", "ARGS")
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def test_every_locked_requirement_is_exact_and_hashed():
    assert len(locked()) > 100
    for requirement, hashes in locked():
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in hashes), requirement


def test_lock_names_no_index_host_or_file():
    without_hashes = LOCK.replace("--hash=sha256:", "")
    assert not re.search(r"://|^\s*-|@|--\w|\.(org|com|io)\b", without_hashes, re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_lock_satisfies_pyproject(python, platform, machine):
    pinned = pins(python, platform, machine)
    unmet = [
        str(r)
        for r in wanted()
        if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0"))
    ]
    assert not unmet


@pytest.mark.parametrize(("image", "extras"), [("core", []), ("train", ["train", "dicom"])])
def test_images_install_what_they_need_as_it_is_locked(image, extras):
    everywhere = {r.name: (r.specifier, hashes) for r, hashes in locked()}
    own = locked((ROOT / f"docker/{image}.lock").read_text())
    found = {requirement.name: (requirement.specifier, hashes) for requirement, hashes in own}
    assert found == {name: everywhere[name] for name in found}
    optional = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *(one for extra in extras for one in optional[extra])]
    assert {canonicalize_name(Requirement(text).name) for text in needed} <= found.keys()
    assert ("torch" in found) == bool(extras)


def test_images_are_built_from_files_that_are_there_and_run_as_nobody_special():
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert all(list(ROOT.glob(pattern[1:])) for pattern in patterns if pattern.startswith("!"))
    files = sorted((ROOT / "docker").glob("*.Dockerfile"))
    assert len(files) == 2
    for path in files:
        lines = path.read_text().splitlines()
        assert "USER 1000" in lines
        assert f"/docker/{path.stem}.lock" in path.read_text()


@pytest.mark.skipif(
    not (ROOT / ".venv/installed").exists(), reason="the environment is not the one `make` installs"
)
def test_environment_is_the_locked_one():
    pinned = pins(f"{sys.version_info[0]}.{sys.version_info[1]}", sys.platform, os.uname().machine)
    names = [canonicalize_name(r.name) for r in wanted()]
    assert {n: metadata.version(n) for n in names} == {n: pinned[n] for n in names}


def test_python_versions_agree():
    supported = SpecifierSet(PROJECT["requires-python"])
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert tuple(classified) == PYTHONS
    assert all(supported.contains(v) for v in PYTHONS)
    assert not supported.contains("3.10")
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "Makefile").read_text()


def test_conda_environment_is_in_step():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, pip_section = environment["dependencies"]
    conda_range = SpecifierSet(python.removeprefix("python "))
    assert [v for v in ("3.10", *PYTHONS, "3.14") if conda_range.contains(v)] == list(PYTHONS)
    assert pip == "pip"
    assert pip_section == {"pip": ["--require-hashes", "-r requirements.lock"]}
    # Both doors install the package itself by the same words.
    command = "--no-deps --no-build-isolation -e ."
    assert command in (ROOT / "environment.yml").read_text()
    assert command in (ROOT / "Makefile").read_text()


def test_console_script_and_package_data_exist():
    module, _, function = PROJECT["scripts"]["paxray"].partition(":")
    assert module == "paxray_lib.cli"
    assert function == "main"
    for pattern in PYPROJECT["tool"]["setuptools"]["package-data"]["*"]:
        assert list((ROOT / "paxray_lib").rglob(pattern)), pattern


def test_example_films_are_small_named_with_their_source_and_carried_by_a_wheel():
    (pattern,) = PYPROJECT["tool"]["setuptools"]["data-files"]["share/paxray-lib/data/examples"]
    sources = (ROOT / "data/examples/SOURCES.md").read_text(encoding="utf-8")
    films = [path for path in sorted(ROOT.glob(pattern)) if path.suffix != ".md"]
    assert len(films) == 5
    assert sum(path.stat().st_size for path in films) < 1.5e6
    assert {read_image(path).view for path in films} == {"frontal", "lateral"}
    for path in films:
        assert max(read_image(path).pixels.shape) <= 1024
        assert f"`{path.name}`" in sources


def test_installed_version_is_that_of_pyproject():
    try:
        installed = metadata.version(PROJECT["name"])
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert installed == PROJECT["version"]


@needs_make
@pytest.mark.parametrize(
    "target",
    [
        "demo",
        "test",
        "check",
        "lab",
        "bench",
        "card",
        "wheel",
        "wheel-check",
        "lock",
        "clean",
        "help",
    ],
)
def test_make_has_the_target(target):
    result = make("--dry-run", target)
    assert result.returncode == 0, result.stderr


@needs_make
def test_make_test_runs_slow_tests_only_when_asked():
    assert "not slow" in make("--dry-run", "test").stdout
    assert "not slow" not in make("--dry-run", "test", "SLOW=1").stdout


@needs_make
def test_make_says_what_to_do_without_a_suitable_python(tmp_path):
    result = make("check", f"VENV={tmp_path}/venv", "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in result.stderr
    assert "make PYTHON=" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_ci_runs_every_test():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    steps = ['make wheel-check >"$log" 2>&1 &', "make test SLOW=1 || status=1"]
    steps += ["wait $! || status=1", "exit $status"]
    assert [line for line in lines if line in steps] == steps


def test_no_file_carries_a_path_of_one_machine_or_generated_data():
    # joined here, or this file would match itself
    folders = "|".join(("home", "Users", "root", "work", "private"))
    personal = re.compile(rf"(?<![\w.~/])/(?:{folders})/\w")
    for name in tracked_files():
        assert not re.match(r"runs/|data/(?!README\.md|examples/)", name), name
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".jpg", ".lock"):
            assert not personal.search(path.read_text(errors="replace")), name


def test_benchmark_runner_knows_its_scripts():
    result = subprocess.run(
        [sys.executable, "benchmarks/run.py", "nothing"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "no benchmark named nothing" in result.stderr


def test_the_workflow_tries_what_the_project_promises():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == PYTHONS
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    runs = [step.get("run", "") for step in jobs["test"]["steps"]]
    extras = {extra for run in runs for extra in re.findall(r"\.\[([\w,]+)\]", run)}
    assert {name for extra in extras for name in extra.split(",")} == {"all", "test"}
    assert {"all", "test"} <= set(PROJECT["optional-dependencies"])
    used = {step["if"].split("'")[1] for step in jobs["test"]["steps"] if "if" in step}
    assert used == set(matrix["install"])
