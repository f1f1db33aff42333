"""A sample with masks that are exact, also where no data set is at hand."""

import os
from pathlib import Path

import numpy as np

from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.images.views import VIEWS
from paxray_lib.labels.table import LabelSet
from paxray_lib.phantoms.phantom import render

_SEED, _SIZE = 0, 256  # as `generate_sample` has them


def example_with_masks(
    data_root: str | os.PathLike, datafile: str, index: int, labels: LabelSet
) -> Sample:
    """Return a sample of the test split, or a phantom where there is no such folder.

    The index counts on from the first where there are not as many. Masks are of `labels`, by name.
    For errors of data that are there see `PaxrayDataset`.
    """
    if Path(data_root).is_dir():
        test = PaxrayDataset(data_root, datafile, "test").with_labels(labels)
        return test[index % len(test)]
    case, number = divmod(index, len(VIEWS))
    view, name = VIEWS[number], f"phantom{case}"
    pixels, masks = render(_SEED, case, _SIZE)[view]
    image = pixels.astype(np.float32) / 255
    return Sample(image, masks.relabel(labels), f"{name}{view}", name, view, None)
