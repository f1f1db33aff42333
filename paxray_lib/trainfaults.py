"""What can go wrong with a training: looked for before anything is loaded, and said in one line when it happens."""

import hashlib
import json
from pathlib import Path

import torch

from paxray_lib.counting import check_targets
from paxray_lib.dataset import PaxrayDataset
from paxray_lib.trainconfig import TrainConfig


class Stopped(RuntimeError):
    """A training cannot go on, say for want of space; the message says why, and where it can be resumed."""


class NotFinite(Stopped):
    """The loss became infinite or not a number; the message names step, files and the last good checkpoint."""


def check_data(train_set: PaxrayDataset, val_set: PaxrayDataset, flips: bool) -> None:
    """Look at what a training will read, without reading it: at the start, since a validation may be hours away.

    Raises
    ------
    ValueError
        If a split has no images or an image no target, or if images are to be flipped and a label has no counterpart.
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
    missing = [path for dataset in (train_set, val_set) for path in _files(dataset) if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{source.path}: {len(missing)} files of its training and validation images are missing, such as "
            f"{', '.join(map(str, missing[:3]))}; is {source.root} the right data_root?"
        )


def _files(dataset: PaxrayDataset) -> list[Path]:
    source = dataset.datafile
    return [path for e in dataset.entries for path in (source.root / e.image, source.target_path(e)) if path]


def data_digests(train_set: PaxrayDataset, val_set: PaxrayDataset) -> dict[str, str]:
    """Return a digest of each thing in a data file that must stay the same for a training to be resumed.

    Of images it covers file names, cases, views and their order; folders may change.
    """
    parts = {"labels": list(train_set.labels.names)}
    for name, dataset in (("training images", train_set), ("validation images", val_set)):
        parts[name] = [(Path(entry.image).name, entry.case, entry.view) for entry in dataset.entries]
    return {name: hashlib.sha256(json.dumps(part).encode()).hexdigest() for name, part in parts.items()}


def last_good(last: Path) -> str:
    """Say where the last good checkpoint is, if there is one."""
    return f"the last good checkpoint is {last}" if last.is_file() else "no checkpoint was written yet"


def explain(error: Exception, config: TrainConfig, last: Path) -> Exception | None:
    """Return an error that says in one line what torch's means for a training, or None if nothing is known of it.

    It is `Stopped` for a lack of memory. It is a ValueError, which names the setting, where a compiler is missing, or
    the network cannot learn from one image at a time.
    """
    if isinstance(error, torch.OutOfMemoryError):
        said = ". ".join(str(error).split(". ")[:2])
        return Stopped(
            f"out of memory with batches of {config.batch_size} ({said}); {last_good(last)}. --resume goes on where "
            "another program took the memory; else start in another run_dir with a smaller batch_size and more "
            "accumulate"
        )
    if "Expected more than 1 value per channel" in str(error):
        return ValueError(
            f"batch_size is {config.batch_size}: {config.architecture} with {config.encoder} cannot learn from one "
            "image at a time (BatchNorm); use a batch_size of at least 2, and two training images"
        )
    if config.compile != "off" and not isinstance(error, Stopped) and _from_compiler(error):
        said = " ".join(str(error).split("\n\n")[0].split())[:300]
        return ValueError(f"compile: {config.compile!r} does not work here ({said}); use compile=off")
    return None


def _from_compiler(error: Exception) -> bool:
    from torch._dynamo.exc import TorchDynamoException  # a second, which only a training that compiles has spent

    return isinstance(error, TorchDynamoException) or "compiler" in str(error)
