"""What can be wrong with a training, looked for before anything is loaded."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from paxray_lib.data.dataset import PaxrayDataset, check_targets
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.errors import last_checkpoint
from paxray_lib.utils.settings import differences

# The precision that a device gives is compared, not its name: "auto" means another one elsewhere
MAY_CHANGE = (
    "data_root",
    "run_dir",
    "epochs",
    "device",
    "precision",
    "workers",
    "compile",
    "save_every",
    "log_every",
)


def check_data(train_set: PaxrayDataset, val_set: PaxrayDataset, flips: bool) -> None:
    """Look at what a training will read, without reading it: a validation may be hours away.

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
            f"flip_prob: the counterpart of {', '.join(lonely[:3])} is not among the labels of "
            f"{source.path}, so that images cannot be flipped; add it, or set flip_prob to 0"
        )
    files = [path for dataset in (train_set, val_set) for path in _files(dataset)]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{source.path}: {len(missing)} files of its training and validation images are "
            f"missing, such as {', '.join(missing[:3])}; is {source.root} the right data_root?"
        )


def _files(dataset: PaxrayDataset) -> list[Path]:
    source = dataset.datafile
    paths = [(source.root / e.image, source.target_path(e)) for e in dataset.entries]
    return [path for pair in paths for path in pair if path]


def data_digests(train_set: PaxrayDataset, val_set: PaxrayDataset) -> dict[str, str]:
    """Return a digest of each thing in a data file that a resumed training must find unchanged.

    Of images it covers file names, cases, views and their order; folders may change.
    """
    parts: dict[str, list] = {"labels": list(train_set.labels.names)}
    for name, dataset in (("training images", train_set), ("validation images", val_set)):
        parts[name] = [(Path(e.image).name, e.case, e.view) for e in dataset.entries]
    return {
        name: hashlib.sha256(json.dumps(part).encode()).hexdigest() for name, part in parts.items()
    }


def check_resumable(
    saved: Mapping, config: TrainConfig, *, processes: int, precision: str, data: Mapping[str, str]
) -> None:
    """Raise ValueError, naming each, if settings or data differ on which the result depends.

    `MAY_CHANGE` lists the others. `epochs` may grow, but not under the schedule "onecycle", whose
    rates depend on it from the first step on. A setting that an older checkpoint lacks had the
    default's effect, and data of which it has no digest are not compared.

    Parameters
    ----------
    saved : the `extra` of the checkpoint
    config, processes : of the training that wants to go on
    precision : Fabric's name of it
    data : digests by name, as from `data_digests`
    """
    old, new = {**TrainConfig().to_dict(), **saved["config"]}, config.to_dict()
    changed = differences(old, new, ignored=MAY_CHANGE)
    if saved.get("processes", 1) != processes:
        changed.append(f"number of processes (was {saved.get('processes', 1)}, is {processes})")
    if saved.get("precision", precision) != precision:
        changed.append(f"precision (was {saved['precision']}, is {precision} on this device)")
    digests = saved.get("data", {})
    other = [name for name, digest in data.items() if digests.get(name, digest) != digest]
    changed += [f"{name} of {config.datafile}" for name in other]
    epochs = f"epochs (was {old['epochs']}, is {new['epochs']}"
    if new["epochs"] < old["epochs"]:
        changed.append(f"{epochs}; it may only grow)")
    if new["epochs"] > old["epochs"] and config.schedule == "onecycle":
        changed.append(f"{epochs}; the schedule 'onecycle' depends on it)")
    if changed:
        raise ValueError(
            f"{last_checkpoint(config)} was trained with other settings: {', '.join(changed)}; use "
            "those, or another run_dir"
        )
