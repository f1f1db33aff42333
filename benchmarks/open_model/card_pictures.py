"""Pictures of the model card: those of example films and of the projected CT are committed."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paxray_lib.data.datafile import read_datafile
from paxray_lib.images.files import find_images
from paxray_lib.images.read import read_image
from paxray_lib.importing.pictures import read_values
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.models import AnatomySegmenter
from paxray_lib.prediction.predict import predict
from paxray_lib.utils import read_bytes
from paxray_lib.viz.compose import side_by_side, titled
from paxray_lib.viz.overlay import as_pixels, compare, render
from paxray_lib.viz.plots.style import BLUE, open_axes

EXAMPLES = Path(__file__).resolve().parents[2] / "data/examples"
ORGANS = ("lung_left", "lung_right", "heart")
RIBS = ("rib_left_posterior_*", "rib_right_posterior_*")
CT_LABELS = ("lung_overall", "heart", "diaphragm", "spine")
HEIGHT = 340  # pixels of a picture in a row


def bland_altman(wingspan: Mapping[str, Any], path: Path) -> None:
    """Save the plot of the ratio's difference over its mean (Bland & Altman 1986)."""
    films = wingspan["per_film"]
    pairs = [(f["ctr"], f["ctr_people"]) for f in films if None not in (f["ctr"], f["ctr_people"])]
    ours, people = np.array(pairs).reshape(-1, 2).T
    ratio = wingspan["cardiothoracic_ratio"]
    figure, axis = open_axes(5.4, 3.4)
    axis.scatter((ours + people) / 2, ours - people, s=16, color=BLUE, alpha=0.7)
    for value, style in ((ratio["bias"]["mean"], "-"), *((end, "--") for end in ratio["limits"])):
        axis.axhline(value, color="#555555", linestyle=style, linewidth=1)
    axis.set(xlabel="mean of both ratios", ylabel="model less people")
    axis.set_title(f"cardiothoracic ratio, {len(pairs)} films, bias and 95 % limits", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no date and no version: the same figures give the same file
    figure.savefig(path, dpi=100, facecolor="white", metadata={"Software": None})


def committed_pictures(
    model: AnatomySegmenter, folder: Path, scores: Mapping[str, Any], out: Path
) -> None:
    """Save what may be shown: example films with organs and ribs, and the CT's projections."""
    out.mkdir(parents=True, exist_ok=True)
    films = find_images(EXAMPLES)
    with tempfile.TemporaryDirectory() as temporary:
        report = predict(model, films, temporary, mirror=scores["mirror"])
        masks = [PackedMasks.read(Path(temporary) / name) for name in report["output"]]
    drawn = list(zip(films, masks, strict=True))
    _save([_overlay(film, mask, ORGANS) for film, mask in drawn], out / "examples.jpg")
    frontal = [(film, mask) for film, mask in drawn if "frontal" in film.stem]
    _save([_overlay(film, mask, RIBS) for film, mask in frontal], out / "ribs.jpg")
    _save(_ct_panels(folder, scores), out / "ct.jpg")


def _overlay(path: Path, masks: PackedMasks, names: Iterable[str], title: str = "") -> np.ndarray:
    """Return a film with labels, (HEIGHT + title, W, 3) uint8."""
    pixels = as_pixels(read_image(path))
    width = round(HEIGHT * pixels.shape[1] / pixels.shape[0])
    small = np.asarray(Image.fromarray(pixels).resize((width, HEIGHT), Image.Resampling.BOX))
    drawn = render(small, masks.resize(HEIGHT, width), masks.labels.select(*names), alpha=70)
    return titled(drawn, title or path.stem)


def _ct_panels(folder: Path, scores: Mapping[str, Any]) -> list[np.ndarray]:
    """Return masks, prediction and difference of both projections."""
    data = read_datafile(folder / "projections")
    panels = []
    for entry in data.splits["test"]:
        name = Path(entry.image)
        truth = PackedMasks.read(data.root / str(entry.target)).resize(HEIGHT, HEIGHT)
        ours = PackedMasks.read(folder / scores["masks"] / "ct" / f"{name.stem}.pxm")
        ours = ours.relabel(truth.labels).resize(HEIGHT, HEIGHT)
        pixels = as_pixels(read_image(data.root / entry.image))
        small = np.asarray(Image.fromarray(pixels).resize((HEIGHT, HEIGHT), Image.Resampling.BOX))
        indices = truth.labels.select(*CT_LABELS)
        for mode, title in (
            ("target", "CT"),
            ("prediction", "model"),
            ("difference", "difference"),
        ):
            drawn = compare(small, truth, ours, indices, mode=mode, alpha=70)
            panels.append(titled(drawn, f"{entry.view}, {title}"))
    return panels


def _save(panels: Sequence[np.ndarray], path: Path) -> None:
    """Save panels in rows of three, as JPEG."""
    rows = [np.asarray(side_by_side(panels[k : k + 3])) for k in range(0, len(panels), 3)]
    width = max(row.shape[1] for row in rows)
    page = np.vstack(
        [
            np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255)
            for row in rows
        ]
    )
    Image.fromarray(page).save(path, quality=82, optimize=True)


def ten(ids: Sequence[str]) -> list[str]:
    """Return ten of the films, evenly spaced by their number.

    >>> ten([f"w{n}" for n in range(180, 259)])[:3]
    ['w180', 'w187', 'w195']
    """
    ordered, count = sorted(ids), min(10, len(ids))
    return [ordered[k * len(ordered) // count] for k in range(count)]


def wingspan_pictures(films: Path, folder: Path, scores: Mapping[str, Any], out: Path) -> None:
    """Save failures beside people's masks, and ten films with ribs, named by their numbers.

    `films` is the folder of wingspan, `folder` that of scores.json.
    """
    wingspan = scores["wingspan"]
    out.mkdir(parents=True, exist_ok=True)
    ids = [film["id"] for film in wingspan["per_film"]]
    failed = {*wingspan["visible_lungs"]["below_floor"], *wingspan["heart"]["below_floor"]}
    masks = folder / scores["masks"] / f"wingspan_{wingspan['split']}"
    for name in sorted(failed):
        film, ours = films / f"images/{name}.png", PackedMasks.read(masks / f"{name}.pxm")
        panels = [
            _overlay(film, _visible(ours), ORGANS, f"{name}, model"),
            _overlay(film, _people(films, name), ORGANS, f"{name}, people"),
        ]
        side_by_side(panels).save(out / f"failure_{name}.png")
    for name in ten(ids):
        ours = PackedMasks.read(masks / f"{name}.pxm")
        picture = _overlay(films / f"images/{name}.png", ours, RIBS)
        Image.fromarray(picture).save(out / f"ribs_{name}.png")


def _visible(masks: PackedMasks) -> PackedMasks:
    """Return the visible lungs and the heart: what people drew."""
    heart, behind = masks.union("heart"), masks.union("mediastinum_overall", "diaphragm")
    lungs = [masks.union(name) & ~heart & ~behind for name in ORGANS[:2]]
    return PackedMasks.pack(np.stack([*lungs, heart]), LabelSet(ORGANS))


def _people(films: Path, name: str) -> PackedMasks:
    paths = [films / f"{part}/{name}.png" for part in ("left_lung", "right_lung", "heart")]
    return PackedMasks.pack(
        np.stack([read_values(read_bytes(path), path) > 127 for path in paths]), LabelSet(ORGANS)
    )
