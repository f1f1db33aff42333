"""What a model itself finds on the training films, as masks to train on: ``python
benchmarks/open_model/teacher.py CHECKPOINT --data data/open/wingspan data/open/v7 --out OUT``.

Nobody drew ribs on films. A model that was trained on phantoms finds them, better on some films
than on others, better with four looks at a film (two sizes, each mirrored as well) than with one.
What it finds so, less what breaks anatomy, teaches it in the next training, in which the film is
turned, blurred and hidden in part (Xie et al., Noisy Student, CVPR 2020).

- What people's masks tell of (`DRAWN`) is not known here: they tell it better.
- Where ribs 3 to 8 of a film are not all found, in order and on their sides, no rib is known.
"""

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from ribs import obeys
from torch.nn import functional

from paxray_lib import LABELS, load_model
from paxray_lib.data.datafile import Entry, exact_names, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import Image, read_image
from paxray_lib.masks import PackedMasks
from paxray_lib.models import AnatomySegmenter
from paxray_lib.models.inference import decide, pass_through
from paxray_lib.utils import progress

SIZES = (256, 320)
DRAWN = re.compile(r"lung_(overall|left|right)|heart|mediastinum_overall|(hemi)?diaphragm.*")
THRESHOLD = 0.5


def looked_at_four_times(model: AnatomySegmenter, image: Image) -> np.ndarray:
    """Return the logit of the mean probability, (L, h, w), at the model's own size."""
    looks = []
    for size in SIZES:
        pixels = Preprocessing(model.preprocessing.kind, (size, size))(image)
        (passed,) = pass_through(model, pixels[None], ["frontal"])
        logits = passed.logits()
        assert logits is not None
        whole = torch.from_numpy(logits)[None]
        enlarged = functional.interpolate(whole, model.preprocessing.size, mode="bilinear")
        looks.append(enlarged.sigmoid())
    return torch.stack(looks).mean(0).logit(eps=1e-6)[0].numpy()


def sift(masks: PackedMasks) -> PackedMasks:
    """Return masks that know what nobody drew, and ribs only where they obey the rules."""
    rules = [rule for part in ("", "posterior_") for rule in obeys(masks, part).items()]
    obeyed = all(holds for rule, holds in rules if rule != "whole")
    known = [
        not DRAWN.fullmatch(name) and (obeyed or not name.startswith("rib"))
        for name in masks.labels.names
    ]
    return masks.knowing(np.array(known))


def teach(model: AnatomySegmenter, roots: list[Path], out: Path) -> None:
    """Write a data set of the training films of data sets and what the model finds on them."""
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    entries, with_ribs = [], 0
    rib = LABELS.names.index("rib_left_5")
    for root in roots:
        films = PaxrayDataset(root, split="train")
        for i in progress(range(len(films)), f"looking at {root.name}"):
            source = films.image_path(i)
            image = read_image(source)
            height, width = image.pixels.shape
            logits = looked_at_four_times(model, image)
            bits = decide(model, logits, THRESHOLD, (height, width))
            masks = sift(PackedMasks(bits, model.labels).resize(height, width))
            with_ribs += bool(masks.known[rib])
            picture, target = f"images/{source.name}", f"labels/{source.stem}.pxm"
            shutil.copyfile(source, out / picture)
            masks.write(out / target)
            known = exact_names(LABELS, masks.known.tolist())
            entries.append(Entry(picture, target, films.entries[i].case, "frontal", known))
    write_datafile(out / "paxray.json", LABELS, {"train": entries, "val": []})
    print(f"{out}: {len(entries)} films, {with_ribs} with ribs that obey the rules")


def main() -> None:
    """Make the data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    teach(load_model(options.checkpoint).eval(), options.data, options.out)


if __name__ == "__main__":
    main()
