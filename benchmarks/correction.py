"""Does correcting the films that the model doubts most pay more than correcting others?
``python benchmarks/correction.py --data data/open [--draws 5] [--out runs/correction]``.

A draw parts wingspan's 40 validation films into 12 to check with and a pool of 28. Of the pool 14
are corrected, which here means that they get the masks that people drew (lungs, heart): those with
most `doubt` in one arm, random ones in the other. A copy of the open model is continued on them and
as many phantoms per film as `PHANTOMS`, so that it keeps what no film teaches. Scored is the mean
Dice of visible lungs and heart of the 12, before and after. The model of the package is not
touched; these films were used to choose among its versions, so that only differences say something.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _report import table

from paxray_lib import load_model
from paxray_lib.data.datafile import Entry, read_datafile, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.data.mapping import read_map
from paxray_lib.data.union import DataSource
from paxray_lib.images.read import read_image
from paxray_lib.masks import PackedMasks
from paxray_lib.models import AnatomySegmenter
from paxray_lib.models.inference import predict_image
from paxray_lib.prediction.predict import predict
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import fit

CHECKED, CORRECTED, PHANTOMS = 12, 14, 3
ARMS = ("doubt", "random")
SETTINGS: dict[str, Any] = {
    "init_from": "open",
    "architecture": "unet",
    "encoder": "tu-tf_efficientnet_lite0",
    "preprocessing": "per_image",
    "image_size": 256,
    "crop_size": 256,
    "flip_prob": 0.5,
    "rotate_degrees": 5,
    "zoom": 0.1,
    "film": 0.2,
    "batch_size": 8,
    "epochs": 8,
    "val_every": 8,
    "learning_rate": 3e-4,
    "schedule": "onecycle",
    "loss": "present",
    "loss_pixels": "quarter",
    "best": "iou_present",
}


def score(model: AnatomySegmenter, films: PaxrayDataset) -> np.ndarray:
    """Return the mean Dice of visible lungs and heart of each film, (N,)."""
    label_map = read_map("wingspan", model.labels, films.labels)
    scores = []
    for i in range(len(films)):
        masks = predict_image(model, read_image(films.image_path(i)))
        ours = PackedMasks(label_map.map_prediction(masks.data), films.labels)
        truth = films.masks(i)
        assert truth is not None
        parts = [("left_lung", "right_lung"), ("heart",)]
        pairs = [(ours.union(*part), truth.union(*part)) for part in parts]
        scores.append(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))
    return np.array(scores)


def continued(folder: Path, data: Path, films: list[Entry], checked: list[Entry]) -> Path:
    """Continue the open model on corrected films and phantoms; return its checkpoint."""
    phantoms = read_datafile(data / "phantoms1")
    wingspan = read_datafile(data / "wingspan")
    some = {"train": list(phantoms.splits["train"])[: PHANTOMS * len(films)], "val": [], "test": []}
    write_datafile(data / "phantoms1" / f"{folder.name}.json", phantoms.labels, some)
    own = {"train": films, "val": checked, "test": []}
    write_datafile(data / "wingspan" / f"{folder.name}.json", wingspan.labels, own)
    name = f"{folder.name}.json"
    sources = (
        DataSource(str(data / "phantoms1"), name),
        DataSource(str(data / "wingspan"), name, map="wingspan"),
    )
    config = TrainConfig(data=sources, run_dir=str(folder), **SETTINGS)
    if not (folder / "checkpoints/last.ckpt").exists():
        fit(config)
    return folder / "checkpoints/last.ckpt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/open"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/correction"))
    args = parser.parse_args()
    model = load_model("open")
    films = PaxrayDataset(args.data / "wingspan", "paxray.json", "val")
    paths = [films.image_path(i) for i in range(len(films))]
    doubts = predict(model, paths, args.out / "predictions", view="frontal", overwrite=True)[
        "doubt"
    ]
    before = score(model, films)
    rank = pd.Series(before).corr(doubts.reset_index(drop=True), method="spearman")
    print(f"{len(films)} films, Dice {before.mean():.4f}, rank correlation with doubt {rank:.2f}")
    rows = []
    for draw in range(args.draws):
        order = random.Random(draw).sample(range(len(films)), len(films))
        checked, pool = order[:CHECKED], order[CHECKED:]
        arms = {
            "doubt": sorted(pool, key=lambda i: -doubts.iloc[i])[:CORRECTED],
            "random": pool[:CORRECTED],
        }
        row = [f"{draw + 1}", f"{before[checked].mean():.4f}"]
        for arm in ARMS:
            entries = [films.entries[i] for i in arms[arm]]
            checks = [films.entries[i] for i in checked]
            weights = continued(args.out / f"{arm}{draw}", args.data, entries, checks)
            after = score(load_model(weights), films)[checked]
            row.append(f"{after.mean():.4f}")
            print(json.dumps({"draw": draw, "arm": arm, "after": after.mean()}), flush=True)
        rows.append(row)
    print(table(["draw", "before", *(f"after, {arm}" for arm in ARMS)], rows))


if __name__ == "__main__":
    main()
