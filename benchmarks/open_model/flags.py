"""Views and flags of real films, of their damaged copies, and of what is no film.

    python benchmarks/open_model/flags.py [--weights open] [--data ../shared/data] [--films 0]

Films: the validation films of wingspan, the training films of v7_lungs, and those of cxr (frontal
and lateral). Copies of frontal ones: upside down, mirrored, inverted, turned by 90 degrees to
either side, and by 10 (to pass) and 25. No films: noise, blank and graded images, text and plots by
matplotlib, one photograph. Wingspan's test split is not read.

    python benchmarks/open_model/flags.py --fit data/open/phantoms1 data/open/phantoms2

prints the coefficients of the view in `paxray_lib/prediction/recognition.py`, fitted to predicted
masks of phantoms of both views and their mirror images.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from paxray_lib import PaxrayDataset, load_model
from paxray_lib.images import read_image
from paxray_lib.masks import PackedMasks
from paxray_lib.models.inference import segment
from paxray_lib.prediction import recognition
from paxray_lib.prediction.recognition import Found, Recognizer
from paxray_lib.utils import read_table

SPLIT = Path(__file__).with_name("v7_split.csv")
MOST = 1024  # pixels: larger films are reduced
#: the flag that each copy should have
EXPECTED = {
    "as it is": "",
    "upside down": "upside_down",
    "mirrored": "mirrored",
    "inverted": "inverted",
    "90 degrees": "rotated",
    "270 degrees": "rotated",
    "10 degrees": "",
    "25 degrees": "rotated",
    "-25 degrees": "rotated",
}
_BOTH = ("as it is", "mirrored")  # of both views


def real_films(data: Path, most: int = 0) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield source, view and pixels of each film; at most some of each source."""
    folders = {
        "wingspan val": (data / "wingspan/split.csv", "val", data / "wingspan/images"),
        "v7 train": (SPLIT, "train", data / "v7_lungs/images"),
    }
    paths = []
    for source, (table, split, folder) in folders.items():
        rows = read_table(table)
        ids = rows.loc[rows["split"] == split, "id"].astype(str)
        paths += [(source, next(folder.glob(f"{name}.*"))) for name in ids]
    paths += [("cxr", path) for path in sorted((data / "cxr").iterdir())]
    counts: Counter[str] = Counter()
    for source, path in paths:
        counts[source] += 1
        if most and counts[source] > most:
            continue
        pixels = read_image(path).pixels
        scale = min(1.0, MOST / max(pixels.shape))
        if scale < 1:
            pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield source, "lateral" if "lateral" in path.name else "frontal", pixels.clip(0, 1)


def copies(pixels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names as in `EXPECTED`, and the copies of a film."""
    yield "as it is", pixels
    yield "upside down", pixels[::-1, ::-1]
    yield "mirrored", pixels[:, ::-1]
    yield "inverted", 1 - pixels
    yield "90 degrees", np.rot90(pixels)
    yield "270 degrees", np.rot90(pixels, 3)
    for degrees in (10, 25, -25):
        yield f"{degrees} degrees", _turned(pixels, degrees)


def _turned(pixels: np.ndarray, degrees: float) -> np.ndarray:
    height, width = pixels.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(np.ascontiguousarray(pixels), turn, (width, height))


def no_films() -> Iterator[tuple[str, np.ndarray]]:
    """Yield kinds and pixels of images that are no films, the same each time."""
    rng = np.random.default_rng(0)
    for i in range(8):
        noise = rng.random((300 + 50 * i, 400))
        yield "noise", noise
        blurred = cv2.GaussianBlur(noise - 0.5, (0, 0), 2 + 3 * i) * (2 + 3 * i)
        yield "blurred noise", (blurred + 0.5).clip(0, 1)
    yield "blank", rng.random((300, 300)) / 1000
    yield "blank", np.pad(np.full((298, 298), 0.5), 1)
    ramp = np.linspace(0, 1, 300)[:, None] * np.ones((1, 300))
    yield "graded", ramp
    yield "graded", ramp.T
    rows, columns = np.mgrid[-1:1:300j, -1:1:300j]
    yield "graded", np.exp(-3 * (rows**2 + columns**2))
    yield "graded", 1 - np.exp(-3 * (rows**2 + columns**2))
    yield from screenshots(rng)


def screenshots(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Yield pages of text, plots and a photograph, as matplotlib draws them."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    words = ["a", "folder", "of", "chest", "films", "waits", "for", "someone", "to", "read", "them"]
    for i in range(16):
        dark = i % 2
        figure = pyplot.figure(figsize=(6, 5), dpi=80, facecolor="#202020" if dark else "white")
        if i < 8:
            for line in range(12 + 3 * i):
                text = " ".join(rng.choice(words, 9))
                place = 0.95 - line * 0.9 / (12 + 3 * i)
                figure.text(0.05, place, text, fontsize=9, color="white" if dark else "black")
        elif i < 12:
            figure.add_subplot().plot(rng.normal(size=(100, 3)).cumsum(0))
        elif i < 14:
            figure.add_subplot().bar(range(8), rng.random(8))
        else:
            figure.add_subplot().scatter(*rng.normal(size=(2, 400)), s=30)
        figure.canvas.draw()
        yield "text" if i < 8 else "plot", np.asarray(figure.canvas.buffer_rgba())[..., 0] / 255
        pyplot.close(figure)
    photo = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    if photo.is_file():
        yield "photograph", read_image(photo).pixels


def recognize(recognizer: Recognizer, model: torch.nn.Module, pixels: np.ndarray) -> Found:
    """Return what an image is, as `predict` would."""
    inputs = model.preprocess(np.ascontiguousarray(pixels, np.float32))
    size = tuple(inputs.shape[1:])
    (bits,) = segment(model, inputs[None], [None], [size])
    return recognizer(inputs, PackedMasks(bits, model.labels))


def table(weights: str, data: Path, most: int) -> str:
    """Return the tables as Markdown."""
    model = load_model(weights, "cpu")
    recognizer = Recognizer(model)
    rows: dict[tuple[str, str], list[Found]] = {}
    seen = Counter()
    for source, view, pixels in real_films(data, most):
        for copy, changed in copies(pixels):
            if view == "lateral" and copy not in _BOTH:
                continue
            found = recognize(recognizer, model, changed)
            rows.setdefault((source if view == "frontal" else "lateral", copy), []).append(found)
            if copy in _BOTH:
                seen[view, copy, found.recognized()[0]] += 1
    lines = [
        "| films | copy | flagged as it should be | other flags |",
        "| --- | --- | --- | --- |",
    ]
    for (source, copy), results in rows.items():
        expected = "" if source == "lateral" else EXPECTED[copy]
        lines.append(_row(source, copy, expected, results))
    kinds: dict[str, list[Found]] = {}
    for kind, pixels in no_films():
        kinds.setdefault(kind, []).append(recognize(recognizer, model, pixels))
    lines += [_row("none", kind, "not_a_chest_film", results) for kind, results in kinds.items()]
    views = [f"- {count} {view}, {copy}: {name}" for (view, copy, name), count in seen.items()]
    return "\n".join([*lines, "", "Views:", "", *views])


def _row(source: str, copy: str, expected: str, results: list[Found]) -> str:
    right = sum(expected in r.flags if expected else not r.flags for r in results)
    others = Counter(flag for r in results for flag in r.flags if flag != expected)
    text = ", ".join(f"{count} {flag}" for flag, count in others.most_common())
    return f"| {source} | {copy} | {right} of {len(results)} | {text} |"


def fit(weights: str, roots: list[Path], cases: int = 40) -> list[float]:
    """Return intercept and coefficients of overlap and apart, with a small penalty."""
    model = load_model(weights, "cpu")
    rows, views = [], []
    for root in roots:
        dataset = PaxrayDataset(root, "paxray.json", "train")
        for i, entry in enumerate(dataset.entries[: 2 * cases]):
            pixels = read_image(dataset.image_path(i)).pixels
            for changed in (pixels, pixels[:, ::-1]):
                inputs = model.preprocess(np.ascontiguousarray(changed))
                (bits,) = segment(model, inputs[None], [None], [tuple(inputs.shape[1:])])
                found = recognition._measure(PackedMasks(bits, model.labels), inputs)
                if found:
                    rows.append([1.0, found.overlap, found.apart])
                    views.append(float(entry.view == "frontal"))
    x, y = torch.tensor(rows), torch.tensor(views)
    weights_ = torch.zeros(3, requires_grad=True)
    solver = torch.optim.LBFGS([weights_], max_iter=500)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        fitted = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights_, y)
        penalized = fitted + 1e-3 * (weights_[1:] ** 2).sum()
        penalized.backward()
        return penalized

    solver.step(loss)
    return [round(value, 2) for value in weights_.tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="open")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("PAXRAY_TEST_DATA", "../shared/data")
    )
    parser.add_argument("--films", type=int, default=0, help="of each source; 0: all")
    parser.add_argument("--fit", type=Path, nargs="+", help="roots of phantoms")
    options = parser.parse_args()
    if options.fit:
        sys.stdout.write(f"{fit(options.weights, options.fit)}\n")
    else:
        sys.stdout.write(table(options.weights, Path(options.data), options.films) + "\n")
