"""Several processes that work as one, as torchrun or srun starts them: how their parts are joined.

Of N things the process of rank r takes r, r + world, r + 2 world, ...: without duplicates or gaps,
whether or not N divides. Every function here also works in a process that is alone, where it
changes nothing, and needs no torch."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from paxray_lib.compute.launch import find_launch
from paxray_lib.utils import Stopped, first_line

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments import SLURMEnvironment

_T = TypeVar("_T")
_LAST_WORDS_S = 3.0  # for another process to say why it ends, before torchrun ends all


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the other processes that torchrun or srun started, for a `with` block.

    Alone, or joined already, it does nothing. The group is a gloo one: what is exchanged is small
    and lies in the memory of the host, whatever the device."""
    launch = find_launch()
    if launch.world == 1 or _group() is not None:
        yield
        return
    from torch import distributed

    slurm = slurm_environment() if launch.launcher == "slurm" else None
    # torchrun says where in the environment
    meeting = f"tcp://{slurm.main_address}:{slurm.main_port}" if slurm else "env://"
    # one may be at work for hours longer than another; one that ends too early is noticed at once
    with _others_may_end():
        distributed.init_process_group(
            "gloo", meeting, timedelta(days=7), launch.world, launch.rank
        )
    try:
        with noting_process():
            yield
            # at the first exit code other than 0 torchrun ends the others, which may have more to
            # say
            gather(None)
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def noting_process() -> Iterator[None]:
    """Note on an error of which of several joined processes it is, unless all have it."""
    try:
        yield
    except Exception as error:
        rank, world = rank_and_world()
        if world > 1 and not hasattr(error, "__notes__"):  # which `from_first` adds
            error.add_note(f"process {rank}")
        raise


def slurm_environment() -> "SLURMEnvironment":
    """Return Fabric's view of the processes of srun; ValueError if it cannot tell their places."""
    # here, because it takes more than a second, which a process that is alone need not wait for
    from lightning_fabric.plugins.environments import SLURMEnvironment

    try:
        return SLURMEnvironment()
    except RuntimeError as error:  # its own remedy is right for one machine alone
        raise ValueError(
            "srun started several processes without --ntasks-per-node; say how many each machine "
            "takes, one per GPU: #SBATCH --ntasks-per-node=4"
        ) from error


def rank_and_world() -> tuple[int, int]:
    """Return this process's number and how many there are; (0, 1) for one that is alone."""
    group = _group()
    return (group.get_rank(), group.get_world_size()) if group is not None else (0, 1)


def _group() -> Any:
    """Return torch's module of joined processes, or None in one that has joined no others."""
    distributed = sys.modules.get("torch.distributed")
    joined = distributed and distributed.is_available() and distributed.is_initialized()
    return distributed if joined else None


def is_first() -> bool:
    """Return whether this is the process that writes files and speaks."""
    return rank_and_world()[0] == 0


def local_device(device: str) -> str:
    """Return the GPU of this process where several share "cuda" or "auto", else the name itself."""
    launch = find_launch()
    if device not in ("auto", "cuda") or launch.world == 1:
        return device
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{launch.local_rank % gpus}" if gpus else device


def gather(value: _T) -> list[_T]:
    """Return what each process gave, by rank, in every process; all of them must call it.

    torch pickles the values on the way. They come from processes of the same launch and the same
    program, and from nowhere else: what is read from a file is never unpickled."""
    values = [value] * rank_and_world()[1]
    if len(values) > 1:
        with _others_may_end():
            _group().all_gather_object(values, value)
    return values


@contextlib.contextmanager
def _others_may_end() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo
        time.sleep(_LAST_WORDS_S)
        raise Stopped(
            "another process ended before its work was done, or cannot be reached; what it said "
            f"tells why ({first_line(str(error))[:200]})"
        ) from error


def from_first(make: Callable[[], _T]) -> _T:
    """Return in every process what `make()` gives in the first, or raise its error there."""
    value: Any = None
    error: Exception | None = None
    if is_first():
        try:
            value = make()
        except (ValueError, OSError) as caught:
            error = caught
    value, message = gather((value, error and str(error)))[0]
    if message is not None:
        error = error or ValueError(message)
        error.add_note("every process")
        raise error
    return value


def gather_items(part: Sequence[_T]) -> list[_T]:
    """Return all things in order, in every process, from each one's share; all must call it."""
    parts = gather(list(part))  # process r has the items r, r + world, ...
    return [parts[i % len(parts)][i // len(parts)] for i in range(sum(map(len, parts)))]
