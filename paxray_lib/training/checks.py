"""What can go wrong with a training: looked for before anything is loaded, and said in one line
when it happens.
"""

import hashlib
import json
from pathlib import Path

from paxray_lib.data.dataset import PaxrayDataset, check_targets


def check_data(train_set: PaxrayDataset, val_set: PaxrayDataset, flips: bool) -> None:
    """Look at what a training will read, without reading it: at the start, since a validation may
    be hours away.

    Raises
    ------
    ValueError
        If a split has no images or an image no target, or if images are to be flipped and a label
        has no counterpart.
    FileNotFoundError
        If files are missing; the message counts them and names the first.
    """
    for dataset in (train_set, val_set):
        check_targets(dataset)
    lonely, source = train_set.labels.without_mirror, train_set.datafile
    if flips and lonely and any(entry.view != "lateral" for entry in train_set.entries):
        raise ValueError(
            f"flip_prob: the counterpart of {', '.join(lonely[:3])} is not among the labels of {source.path}, so that "
            "images cannot be flipped; add it, or set flip_prob to 0"
        )
    missing = [
        path for dataset in (train_set, val_set) for path in _files(dataset) if not path.is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"{source.path}: {len(missing)} files of its training and validation images are missing, such as "
            f"{', '.join(map(str, missing[:3]))}; is {source.root} the right data_root?"
        )


def _files(dataset: PaxrayDataset) -> list[Path]:
    source = dataset.datafile
    return [
        path
        for e in dataset.entries
        for path in (source.root / e.image, source.target_path(e))
        if path
    ]


def data_digests(train_set: PaxrayDataset, val_set: PaxrayDataset) -> dict[str, str]:
    """Return a digest of each thing in a data file that must stay the same for a training to be
    resumed.

    Of images it covers file names, cases, views and their order; folders may change.
    """
    parts = {"labels": list(train_set.labels.names)}
    for name, dataset in (("training images", train_set), ("validation images", val_set)):
        parts[name] = [
            (Path(entry.image).name, entry.case, entry.view) for entry in dataset.entries
        ]
    return {
        name: hashlib.sha256(json.dumps(part).encode()).hexdigest() for name, part in parts.items()
    }
