"""What can be wrong with a training: before anything is loaded, and while it is under way."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from paxray_lib.data.dataset import PaxrayDataset, check_targets
from paxray_lib.training.config import TrainConfig
from paxray_lib.utils.errors import Stopped, first_line
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
        If the training split has no images, an image has no target, or if images are to be flipped
        and a label has no counterpart.
    FileNotFoundError
        If files are missing; the message counts them and names the first.
    """
    for dataset in (train_set, val_set) if len(val_set) else (train_set,):
        check_targets(dataset)
    lonely, source = train_set.labels.without_mirror, train_set.datafile
    if flips and lonely and any(entry.view != "lateral" for entry in train_set.entries):
        raise ValueError(
            f"flip_prob: the counterpart of {', '.join(lonely[:3])} is not among the labels of "
            f"{source.path}, so that images cannot be flipped; add it, or set flip_prob to 0"
        )
    entries = [*train_set.entries, *val_set.entries]
    files = [(source.root / entry.image, source.target_path(entry)) for entry in entries]
    missing = [str(path) for pair in files for path in pair if path and not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{source.path}: {len(missing)} files of its training and validation images are "
            f"missing, such as {', '.join(missing[:3])}; is {source.root} the right data_root?"
        )


def check_validation(val_sets: Sequence[PaxrayDataset]) -> None:
    """Raise ValueError if no data set has validation images: one that has none is not scored."""
    if not any(map(len, val_sets)):
        raise ValueError(
            f"{' and '.join(str(part.datafile.path) for part in val_sets)}: split 'val' has no "
            "images; the best checkpoint is chosen by some"
        )


def data_digests(
    train_sets: Sequence[PaxrayDataset], val_sets: Sequence[PaxrayDataset]
) -> dict[str, str]:
    """Return `_digests` of each data set, under the names of the only one, or with numbers."""
    pairs = [_digests(*pair) for pair in zip(train_sets, val_sets, strict=True)]
    if len(pairs) == 1:
        return pairs[0]
    return {
        f"{name} of data set {number}": digest
        for number, parts in enumerate(pairs, 1)
        for name, digest in parts.items()
    }


def _digests(train_set: PaxrayDataset, val_set: PaxrayDataset) -> dict[str, str]:
    """Return a digest of each thing in a data file that a resumed training must find unchanged.

    Of images it covers file names, cases, views and their order; folders may change.
    """
    names = [list(some.names) for some in (train_set.datafile.labels, train_set.labels)]
    lines = train_set.label_map.info["map"] if train_set.label_map else {}
    parts: dict[str, list] = {"labels": [*names, lines], "known labels": []}
    for name, dataset in (("training images", train_set), ("validation images", val_set)):
        parts[name] = [(Path(e.image).name, e.case, e.view) for e in dataset.entries]
        known = (dataset.datafile.known(entry) for entry in dataset.entries)
        parts["known labels"] += [np.flatnonzero(~some).tolist() for some in known]
    return {
        name: hashlib.sha256(json.dumps(part).encode()).hexdigest() for name, part in parts.items()
    }


def check_folder(config: TrainConfig, resume: bool) -> None:
    """Raise FileExistsError if a training would overwrite what it cannot go on from.

    A training that ends before its first checkpoint leaves its settings alone: nothing is lost if
    it begins again, but it has to be told, since the settings may also be something else's.
    """
    folder, last = Path(config.run_dir), config.last_checkpoint
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, but run_dir must be a folder; choose another")
    results = (last.with_name("best.ckpt"), folder / "metrics.csv")
    lost = " and ".join(path.name for path in results if path.exists())
    # `paxray run` writes both before it trains
    settings = (folder / "config.yaml").exists() and not (folder / "status.json").exists()
    if last.exists():
        problem = None if resume else "a training already; resume it"
    elif lost:
        problem = f"{lost}, but not {last.name}, which a training goes on from; put it back"
    elif settings and not resume:
        problem = "config.yaml, but no checkpoints; resume, which begins a training and replaces it"
    else:
        problem = None
    if problem:
        raise FileExistsError(f"{folder} holds {problem}, or choose another run_dir")


def check_resumable(
    saved: Mapping, config: TrainConfig, *, processes: int, precision: str, data: Mapping[str, str]
) -> None:
    """Raise ValueError, naming each, if settings or data differ on which the result depends.

    `saved` is the `extra` of the checkpoint, `precision` Fabric's name of it, `data` the digests of
    `data_digests`. `MAY_CHANGE` lists the other settings. `epochs` may grow, but not under the
    schedule "onecycle", whose rates depend on it from the first step on. A setting that an older
    checkpoint lacks had the default's effect, and data of which it has no digest are not compared.
    """
    old, new = {**TrainConfig().to_dict(), **saved["config"]}, config.to_dict()
    changed = differences(old, new, ignored=(*MAY_CHANGE, "data"))
    if len(old["data"]) == len(new["data"]):  # of each data set the folder may change
        for number, pair in enumerate(zip(old["data"], new["data"], strict=True), 1):
            changed += [f"data set {number}: {x}" for x in differences(*pair, ignored=["root"])]
    else:
        changed.append(f"data (was {len(old['data'])} sets, is {len(new['data'])})")
    if (before := saved.get("processes", 1)) != processes:
        changed.append(f"number of processes (was {before}, is {processes})")
    if saved.get("precision", precision) != precision:
        changed.append(f"precision (was {saved['precision']}, is {precision} on this device)")
    changed += [
        f"{name}" if config.data else f"{name} of {config.datafile}"
        for name, digest in data.items()
        if saved.get("data", {}).get(name, digest) != digest
    ]
    epochs = f"epochs (was {old['epochs']}, is {new['epochs']}"
    if new["epochs"] < old["epochs"]:
        changed.append(f"{epochs}; it may only grow)")
    if new["epochs"] > old["epochs"] and config.schedule == "onecycle":
        changed.append(f"{epochs}; the schedule 'onecycle' depends on it)")
    if changed:
        raise ValueError(
            f"{config.last_checkpoint} was trained with other settings: {', '.join(changed)}; use "
            "those, or another run_dir"
        )


WORKER_ENDED = "a process that reads samples has ended; if memory is short, set fewer workers"


class NotFinite(Stopped):
    """The loss is not finite; the message names step, files and the last good checkpoint."""


def last_good(config: TrainConfig) -> str:
    """Say where the last good checkpoint is, if there is one."""
    if config.last_checkpoint.is_file():
        return f"the last good checkpoint is {config.last_checkpoint}"
    return "no checkpoint was written yet"


@contextlib.contextmanager
def in_one_line(config: TrainConfig) -> Iterator[None]:
    """Turn those errors of torch that a setting can mend into one line that names it.

    Raises
    ------
    Stopped
        For a lack of memory, or another process that has ended.
    ValueError
        If a compiler is missing, or the network cannot learn from one image at a time.
    """
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:
        if _is_lack_of_memory(error):
            cause = ". ".join(str(error).split(". ")[:2])
            raise Stopped(
                f"out of memory with batches of {config.batch_size} ({cause}); "
                f"{last_good(config)}. --resume goes on where another program took the memory; "
                "else start in another run_dir with a smaller batch_size and more accumulate"
            ) from error
        if "Expected more than 1 value per channel" in str(error):
            raise ValueError(
                f"batch_size is {config.batch_size}: {config.architecture} with {config.encoder} "
                "cannot learn from one image at a time (BatchNorm); use a batch_size of at least "
                "2, and two training images"
            ) from error
        if "DataLoader worker" in str(error):  # from a signal, wherever the training is
            raise Stopped(f"{WORKER_ENDED}; {last_good(config)}; --resume goes on") from error
        if _is_from_another_process(error):
            raise Stopped(
                f"another process of the training has ended ({first_line(str(error))}); what it "
                f"said tells why; {last_good(config)}; --resume goes on"
            ) from error
        if config.compile != "off" and _is_from_compiler(error):
            cause = " ".join(str(error).split("\n\n")[0].split())[:300]
            raise ValueError(
                f"compile: {config.compile!r} does not work here ({cause}); use compile=off"
            ) from error
        raise


def _is_lack_of_memory(error: Exception) -> bool:
    # for the processor's memory torch has no class of its own
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def _is_from_another_process(error: Exception) -> bool:
    # gloo has no class of its own
    return isinstance(error, distributed.DistError) or "gloo/transport" in str(error)


def _is_from_compiler(error: Exception) -> bool:
    # a second, which only a training that compiles has spent
    from torch._dynamo.exc import TorchDynamoException

    by_name = "compiler" in str(error) and not isinstance(error, Stopped)
    return by_name or isinstance(error, TorchDynamoException)
