"""Why a training stops, in words."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from paxray_lib.training.config import TrainConfig
from paxray_lib.utils.errors import Stopped


class NotFinite(Stopped):
    """The loss became infinite or not a number.

    The message names step, files and the last good checkpoint.
    """


def last_checkpoint(config: TrainConfig) -> Path:
    """Return the file that a training is resumed from."""
    return Path(config.run_dir) / "checkpoints" / "last.ckpt"


def last_good(config: TrainConfig) -> str:
    """Say where the last good checkpoint is, if there is one."""
    last = last_checkpoint(config)
    if last.is_file():
        return f"the last good checkpoint is {last}"
    return "no checkpoint was written yet"


@contextlib.contextmanager
def in_one_line(config: TrainConfig) -> Iterator[None]:
    """Turn those errors of torch that a setting can mend into one line that names it.

    Raises
    ------
    Stopped
        For a lack of memory.
    ValueError
        If a compiler is missing, or the network cannot learn from one image at a time.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        cause = ". ".join(str(error).split(". ")[:2])
        raise Stopped(
            f"out of memory with batches of {config.batch_size} ({cause}); {last_good(config)}. "
            "--resume goes on where another program took the memory; else start in another run_dir "
            "with a smaller batch_size and more accumulate"
        ) from error
    except (RuntimeError, ValueError) as error:
        if "Expected more than 1 value per channel" in str(error):
            raise ValueError(
                f"batch_size is {config.batch_size}: {config.architecture} with {config.encoder} "
                "cannot learn from one image at a time (BatchNorm); use a batch_size of at least "
                "2, and two training images"
            ) from error
        if config.compile != "off" and _is_from_compiler(error):
            cause = " ".join(str(error).split("\n\n")[0].split())[:300]
            raise ValueError(
                f"compile: {config.compile!r} does not work here ({cause}); use compile=off"
            ) from error
        raise


def _is_from_compiler(error: Exception) -> bool:
    # a second, which only a training that compiles has spent
    from torch._dynamo.exc import TorchDynamoException

    by_name = not isinstance(error, Stopped) and "compiler" in str(error)
    return by_name or isinstance(error, TorchDynamoException)
