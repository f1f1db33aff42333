"""Which of several processes this one is, as torchrun or SLURM says in the environment.

Needs no torch."""

from dataclasses import dataclass
from os import environ


@dataclass(frozen=True)
class Launch:
    """Place of this process among those that work together."""

    launcher: str = ""  # of one process alone; "torchrun" or "slurm"
    rank: int = 0
    world: int = 1  # how many there are
    local_rank: int = 0  # among those on this machine
    local_world: int = 1


def find_launch() -> Launch:
    """Return this process's place; a batch script of SLURM is one, `srun` starts several.

    ValueError if the environment does not say it whole."""
    try:
        return _find()
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"the environment is not as torchrun or srun leave it ({error}); start by one of them, "
            "or unset TORCHELASTIC_RUN_ID and SLURM_STEP_NUM_TASKS"
        ) from error


def _find() -> Launch:
    if "TORCHELASTIC_RUN_ID" in environ and int(environ["WORLD_SIZE"]) > 1:
        names = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"]
        return Launch("torchrun", *(int(environ[name]) for name in names))
    world = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    if world == 1:
        return Launch()
    local_world = world // int(environ.get("SLURM_STEP_NUM_NODES", 1))
    return Launch(
        "slurm", int(environ["SLURM_PROCID"]), world, int(environ["SLURM_LOCALID"]), local_world
    )
