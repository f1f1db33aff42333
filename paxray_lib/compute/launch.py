"""Which of several processes this one is, as torchrun or SLURM says in the environment.

Needs no torch."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """Place of this process among those that work together.

    Attributes
    ----------
    launcher : "" for one process alone, "torchrun" or "slurm"
    rank, world : number of this process, from 0, and how many there are
    local_rank, local_world : the same among those on this machine
    """

    launcher: str = ""
    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return self.world // self.local_world


def find_launch() -> Launch:
    """Return this process's place.

    Under SLURM only `srun` starts several processes; a batch script itself is one.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env and int(env["WORLD_SIZE"]) > 1:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return Launch("torchrun", *(int(env[name]) for name in names))
    world = int(env.get("SLURM_STEP_NUM_TASKS", 1))
    if world > 1:
        local_world = world // int(env.get("SLURM_STEP_NUM_NODES", 1))
        return Launch(
            "slurm", int(env["SLURM_PROCID"]), world, int(env["SLURM_LOCALID"]), local_world
        )
    return Launch()
