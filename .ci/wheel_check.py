"""Install the built wheel for real, and use it: ``python .ci/wheel_check.py dist/*.whl``.

In new environments, in a folder without the repository, from the package index, in the versions of
requirements.lock: the core with each Python that is at hand, then one of them grown to `[train]`
and to `[all]`. A line per check, with its seconds; exit code 1 if any failed. It takes minutes, and
8 GB of disk that it gives back.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
PYTHONS = ("python3.11", "python3.12", "python3.13")
MOST_CORE_MIB = 500
FILM = "data/examples/hannover_bed_*"

MASKS = """
import sys
from paxray_lib import LABELS, PackedMasks, predict
masks = PackedMasks.read(sys.argv[1], LABELS)
assert masks.union("heart").sum() > 1000, masks.counts()
assert callable(predict)
"""
ALONE = """
import importlib.util, paxray_lib
assert "site-packages" in paxray_lib.__file__, paxray_lib.__file__
heavy = ("torch", "jupyterlab", "matplotlib")
there = [name for name in heavy if importlib.util.find_spec(name)]
assert not there, f"the core brings {there}"
"""
REFUSED = """
try:
    from paxray_lib import load_model
except ImportError as error:
    assert 'pip install "paxray-lib[train]"' in str(error), error
else:
    raise AssertionError("load_model without torch")
"""
LOAD = """
from paxray_lib import load_model
model = load_model("open")
assert len(model.labels) == 166
"""
VIEWER = """
import sys
from paxray_lib import LabelViewer
shown = repr(LabelViewer(sys.argv[1], sys.argv[2]))
assert shown.startswith("LabelViewer("), shown
"""
UNKNOWN = """
from paxray_lib.runs.run import run
try:
    run("notebooks/profiles/demo.yaml", ["notebooks=[05_visualize]"])
except ValueError as error:
    assert "05_visualize_labels" in str(error), error
else:
    raise AssertionError("a notebook that is not there was run")
"""


class Environment:
    """A new environment, and an empty folder where its commands run."""

    def __init__(self, python: str, folder: Path):
        self.name = Path(python).name
        self.limits = ("--quiet", "--constraint", folder.parent / "versions.txt")
        self.folder, self.work = folder / "env", folder / "work"
        self.work.mkdir(parents=True)
        run([python, "-m", "venv", self.folder], folder)
        self.bin = self.folder / ("Scripts" if os.name == "nt" else "bin")
        self.empty_mib, self.failed = self.mib(), 0

    def mib(self) -> float:
        """Return the size of all its files."""
        files = [p for p in self.folder.rglob("*") if p.is_file() and not p.is_symlink()]
        return sum(path.stat().st_size for path in files) / 2**20

    def packages(self) -> int:
        """Return how many packages are installed, pip and setuptools apart."""
        lines = self("python", "-m", "pip", "list", "--format", "freeze").splitlines()
        return sum(not line.startswith(("pip==", "setuptools==", "wheel==")) for line in lines)

    def __call__(self, program: str, *arguments: object) -> str:
        """Run one of its programs; return what it prints."""
        return run([self.bin / program, *arguments], self.work)

    def install(self, wheel: Path, extra: str = "") -> None:
        """Install the wheel with an extra, from the package index."""
        wanted = f"paxray-lib{extra} @ {wheel.as_uri()}"
        self("python", "-m", "pip", "install", *self.limits, wanted)

    def check(self, what: str, step: Callable[[], object]) -> float:
        """Do a step, say how it went, and return its seconds."""
        start = time.monotonic()
        try:
            step()
            result, why = "ok  ", ""
        except (subprocess.CalledProcessError, AssertionError, OSError) as error:
            lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines() or ["?"]
            result, why, self.failed = "FAIL", f": {lines[-1]}", self.failed + 1
        seconds = time.monotonic() - start
        print(f"{result} {self.name}, {what}: {seconds:.1f} s{why}", flush=True)
        return seconds


def run(command: list, folder: Path) -> str:
    """Run a command without a trace of the repository; return its stdout."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV")
    clean = {key: value for key, value in os.environ.items() if key not in ours}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=clean, capture_output=True, text=True
    )
    done.check_returncode()
    return done.stdout


def the(folder: Path, pattern: str) -> Path:
    """Return the one file of a pattern."""
    files = sorted(folder.glob(pattern))
    assert len(files) == 1, f"{folder}: {len(files)} files are {pattern}"
    return files[0]


def check_core(env: Environment, wheel: Path) -> None:
    """Everything that the wheel alone can do."""
    # the first installation downloads, the second one is timed
    env("python", "-m", "pip", "download", *env.limits, "--dest", env.work / "cached", wheel)
    shutil.rmtree(env.work / "cached")
    to_mask = env.check("core: pip install", lambda: env.install(wheel))
    mib, count = env.mib() - env.empty_mib, env.packages()
    env.check("core: alone, without torch", lambda: env("python", "-c", ALONE))
    to_mask += env.check("core: paxray notebooks", lambda: env("paxray", "notebooks", "."))
    film = the(env.work, FILM)
    predict = ("predict", "--images", film, "--out", "masks")
    to_mask += env.check("core: the first mask", lambda: env("paxray", *predict))
    pages = ("--overwrite", "--measure", "--overlays", "--report", "--sheet")
    env.check("core: predict, all that it draws", lambda: env("paxray", *predict, *pages))
    env.check("core: what needs torch says so", lambda: env("python", "-c", REFUSED))
    env.check(
        "core: masks in Python", lambda: env("python", "-c", MASKS, the(env.work, "masks/*.pxm"))
    )
    overlay = ("overlay", "--image", film, "--out", "o.png", "--labels", "heart,aorta", "--masks")
    env.check("core: overlay", lambda: env("paxray", *overlay, the(env.work, "masks/*.pxm")))
    env.check("core: labels --json", lambda: env("paxray", "labels", "--json"))
    page = ("export", "page", "--images", film, "--out", "page.html")
    env.check("core: export page", lambda: env("paxray", *page))

    def small() -> None:
        assert mib < MOST_CORE_MIB, f"{mib:.0f} MiB installed, at most {MOST_CORE_MIB}"

    env.check(f"core: {mib:.0f} MiB, {count} packages", small)
    print(f"     {env.name}: from pip install (cached) to the first mask: {to_mask:.1f} s")


def check_train(env: Environment, wheel: Path) -> None:
    """What `[train]` adds."""
    env.check("[train]: pip install", lambda: env.install(wheel, "[train]"))
    env.check("[train]: load_model", lambda: env("python", "-c", LOAD))
    sample = ("sample", "data/test", "--cases", 8, "--size", 64)
    env.check("[train]: sample", lambda: env("paxray", *sample))
    profile = ("--profile", "notebooks/profiles/test.yaml", "--set", "epochs=1")
    train = ("train", *profile, "--set", "run_dir=runs/one")
    env.check("[train]: train", lambda: env("paxray", *train))
    weights = "runs/one/checkpoints/best.ckpt"
    scored = ("evaluate", "--weights", weights, "--data-root", "data/test", "--out", "scores")
    env.check("[train]: evaluate", lambda: env("paxray", *scored))
    predict = ("predict", "--weights", weights, "--images", the(env.work, FILM), "--out", "mine")
    env.check("[train]: predict with the new weights", lambda: env("paxray", *predict))


def check_all(env: Environment, wheel: Path) -> None:
    """What `[all]` adds."""
    env.check("[all]: pip install", lambda: env.install(wheel, "[all]"))
    film = the(env.work, FILM)
    env.check(
        "[all]: the viewer",
        lambda: env("python", "-c", VIEWER, film, the(env.work, "masks/*.pxm")),
    )
    env.check("[all]: paxray notebooks", lambda: env("paxray", "notebooks", "lessons"))
    lesson = (
        "--cwd",
        "lessons/notebooks",
        "lessons/notebooks/05_visualize_labels.ipynb",
        "05.ipynb",
    )
    env.check("[all]: paxray run knows the notebooks", lambda: env("python", "-c", UNKNOWN))
    env.check("[all]: a notebook", lambda: env("python", "-m", "papermill", *lesson))
    env.check("[all]: jupyter lab", lambda: env("python", "-m", "jupyterlab", "--version"))


def main() -> int:
    """Check a wheel; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--core-alone", action="store_true", help="leave [train] and [all] out")
    options = parser.parse_args()
    wheel = options.wheel.resolve(strict=True)
    others = [path for name in PYTHONS if (path := shutil.which(name)) and works(path)]
    own = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = [sys.executable, *(path for path in others if Path(path).name != own)]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="paxray-wheel-") as folder:
        Path(folder, "versions.txt").write_text(versions(), encoding="utf-8")
        for number, python in enumerate(pythons):
            env = Environment(python, Path(folder, str(number)))
            env.name = run([python, "-c", "import sys; print(sys.version.split()[0])"], env.work)
            env.name = f"Python {env.name.strip()}"
            check_core(env, wheel)
            if number == 0 and not options.core_alone:
                check_train(env, wheel)
                check_all(env, wheel)
            failed += env.failed
            shutil.rmtree(env.folder)
    print(f"{failed} checks failed" if failed else "all checks passed")
    return bool(failed)


def versions() -> str:
    """Return the lock's versions without its hashes, which the wheel cannot have."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.rstrip("\\ ") for line in lines if "==" in line)


def works(python: str) -> bool:
    """Tell whether an interpreter can make environments."""
    done = subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
