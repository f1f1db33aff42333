"""Calibrate the open model's doubt and say how well it does:
``python benchmarks/open_model/doubt.py [--wingspan DIR] [--v7 DIR] [--out runs/doubt]``.

Films: wingspan's val split, to fit, and v7's patients of v7_split.csv that nobody trains on, to
test. Each as it is and damaged by `damage`, five strengths of five kinds. The true Dice is that of
the masks that `predict` writes: the mean of visible lungs and heart (wingspan), or lungs (v7).
Figures of wingspan are of estimates that were fitted without the film (ten folds over films).

Written are the calibration (paxray_lib/models/open/doubt.json), the figures (doubt.json beside this
script), and the section of the model card (doubt.md); `make card` puts it in. Signs and Dice of
each copy stay in OUT, in a file for each model, so that the command goes on where it was stopped,
and a second one takes seconds.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from damage import Film, copies
from doubt_figures import Copy, figures, fit, section, unseen
from measures import dice, fingerprint, number
from score import DATA, WINGSPAN

from data import V7_SPLIT, read_rows
from paxray_lib.data.mapping import LabelMap, read_map
from paxray_lib.images.read import read_image
from paxray_lib.importing.pictures import read_mask, read_values
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.models import AnatomySegmenter, load_model, optimize_for_inference
from paxray_lib.models.inference import pass_through
from paxray_lib.prediction.doubt import CALIBRATION, Inspector, Signs
from paxray_lib.utils import now, progress, read_bytes, read_json, write_text

FIGURES, SECTION = (Path(__file__).with_name(f"doubt.{suffix}") for suffix in ("json", "md"))


def wingspan_films(folder: Path) -> Iterator[tuple[str, Film]]:
    """Yield name and film of the val split, with the masks of `WINGSPAN`."""
    for row in read_rows(folder / "split.csv"):
        if row["split"] == "val":
            name = f"{row['id']}.png"
            paths = [folder / part / name for part in WINGSPAN]
            masks = np.stack([read_mask(read_bytes(path), path) for path in paths], axis=-1)
            yield row["id"], (read_image(folder / "images" / name).pixels, masks.astype(np.uint8))


def v7_films(folder: Path) -> Iterator[tuple[str, Film]]:
    """Yield name and film of the patients that are scored, with the values of their masks."""
    for row in read_rows(V7_SPLIT):
        if row["split"] == "test":
            path = folder / f"lungs/{row['id']}.png"
            values = read_values(read_bytes(path), path)[..., None]
            yield row["id"], (read_image(folder / f"images/{row['id']}.png").pixels, values)


def wingspan_dice(ours: np.ndarray, people: np.ndarray) -> float:
    """Return the mean Dice of lungs and heart, bool (3, H, W) and values (H, W, 3)."""
    left, right, heart = np.moveaxis(people > 0, 2, 0)
    parts = (dice(ours[0] | ours[1], left | right), dice(ours[2], heart))
    return float(np.mean([part for part in parts if not math.isnan(part)] or [math.nan]))


def v7_dice(ours: np.ndarray, people: np.ndarray) -> float:
    """Return the Dice of lungs, bool (1, H, W) and values (H, W, 1), of which 127 do not count."""
    return dice(ours[0], people[..., 0] == 255, people[..., 0] != 127)


class Watcher:
    """Looks at copies of films with one model."""

    def __init__(self, model: AnatomySegmenter):
        self._model, self._fast = model, optimize_for_inference(model)
        self._inspector = Inspector(self._fast)

    def parts(self, name: str, structures: Sequence[str]) -> tuple[list[int], LabelMap]:
        """Return the labels that a map needs, and the map from these."""
        labels, people = self._model.labels, LabelSet(structures)
        expressions = read_map(name, labels, people).predicted
        needed = sorted({i for expression in expressions for _, many in expression for i in many})
        return needed, read_map(name, LabelSet(labels.names[i] for i in needed), people)

    def look(
        self, pixels: np.ndarray, needed: list[int], label_map: LabelMap
    ) -> tuple[Signs, np.ndarray]:
        """Return signs, and the bool masks (K, H, W) of a map's structures."""
        inputs = self._model.preprocess(np.ascontiguousarray(pixels))[None]
        (passed,) = pass_through(self._fast, inputs, [None])
        (mirrored,) = self._inspector.mirrored(inputs)
        signs = self._inspector(passed.coarse, mirrored, "frontal")
        bits = passed.decide(pixels.shape, 0.5, needed)
        assert signs is not None  # the open model has lungs and heart
        assert bits is not None
        return signs, PackedMasks(label_map.map_prediction(bits), label_map.labels).unpack()


def look_at(watcher: Watcher, name: str, folder: Path, out: Path) -> list[Copy]:
    """Return all copies of a data set's films; those that OUT has are not made again."""
    films = list((wingspan_films if name == "wingspan" else v7_films)(folder))
    score = wingspan_dice if name == "wingspan" else v7_dice
    parts = watcher.parts(name, WINGSPAN if name == "wingspan" else ["lungs"])
    done: dict[str, Any] = read_json(out)
    for film, content in progress(films, name):
        if film not in done:
            rows = []
            for kind, strength, (pixels, people) in copies(content, film):
                signs, ours = watcher.look(pixels, *parts)
                rows.append([kind, strength, number(score(ours, people)), signs.to_dict()])
            done[film] = rows
            write_text(out, json.dumps(done))
    return [
        Copy(film, kind, strength, value, Signs(**signs))
        for film, rows in done.items()
        for kind, strength, value, signs in rows
        if value is not None  # nothing of the chest is left
    ]


def main() -> None:
    """Calibrate, test, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wingspan", type=Path, default=DATA / "wingspan")
    parser.add_argument("--v7", type=Path, default=DATA / "v7_lungs")
    parser.add_argument("--out", type=Path, default=Path("runs/doubt"))
    options = parser.parse_args()
    model = load_model("open", "cpu")
    watcher, digest = Watcher(model), model.weights_digest()
    options.out.mkdir(parents=True, exist_ok=True)
    looked = {
        name: look_at(watcher, name, folder, options.out / f"{name}-{digest[:12]}.json")
        for name, folder in (("wingspan", options.wingspan), ("v7", options.v7))
    }
    estimate = fit(looked["wingspan"])
    tested = np.array([estimate(copy.signs) for copy in looked["v7"]])
    found = {
        "weights": fingerprint(model),
        "date": now()[:10],
        "slopes": estimate.slopes,
        "wingspan": figures(looked["wingspan"], unseen(looked["wingspan"])),
        "v7": figures(looked["v7"], tested),
    }
    calibration = {
        "made_by": "benchmarks/open_model/doubt.py",
        "films": "wingspan, val split, and damaged copies",
        "weights": digest,
        "intercept": estimate.intercept,
        "slopes": estimate.slopes,
    }
    write_text(CALIBRATION, json.dumps(calibration, indent=1) + "\n")
    write_text(FIGURES, json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(SECTION, section(found))
    sys.stdout.write(f"{json.dumps(calibration, indent=1)}\n{section(found)}")


if __name__ == "__main__":
    main()
