"""Why a training stops, in words."""

from pathlib import Path

import torch

from paxray_lib.training.config import TrainConfig
from paxray_lib.utils.errors import Stopped


class NotFinite(Stopped):
    """The loss became infinite or not a number; the message names step, files and the last good
    checkpoint.
    """


def last_good(last: Path) -> str:
    """Say where the last good checkpoint is, if there is one."""
    return (
        f"the last good checkpoint is {last}" if last.is_file() else "no checkpoint was written yet"
    )


def explain(error: Exception, config: TrainConfig, last: Path) -> Exception | None:
    """Return an error that says in one line what torch's means for a training, or None if nothing
    is known of it.

    It is `Stopped` for a lack of memory. It is a ValueError, which names the setting, where a
    compiler is missing, or the network cannot learn from one image at a time."""
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
        return ValueError(
            f"compile: {config.compile!r} does not work here ({said}); use compile=off"
        )
    return None


def _from_compiler(error: Exception) -> bool:
    # a second, which only a training that compiles has spent
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException) or "compiler" in str(error)
