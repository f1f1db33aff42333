"""Device, precision and processes of a training: a Fabric, checked before anything is loaded.

One process uses one device. Several are started by a launcher, which also decides how many there
are:

    torchrun --nproc-per-node 4 -m paxray_lib train --profile P.yaml

on one machine with four GPUs; on each of two machines, with the first one's name:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \\
        --rdzv-id paxray -m paxray_lib train --profile P.yaml

Under SLURM, srun is the launcher; the batch script is

    #SBATCH --nodes=2
    #SBATCH --ntasks-per-node=4
    #SBATCH --gres=gpu:4
    #SBATCH --cpus-per-task=8
    srun python -m paxray_lib train --profile P.yaml --resume

Each process needs to see all GPUs of its machine (no --gpus-per-task, no --gpu-bind) and takes the
one of its local rank. Processes talk over NCCL on GPUs and gloo on processors. All read the same
files, and the first alone writes.
"""

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import distributed

from paxray_lib.compute.collectives import local_device, slurm_environment
from paxray_lib.compute.devices import find_device
from paxray_lib.compute.launch import Launch, find_launch

#: Fabric's names of the precisions of a training.
FABRIC_PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}

# Fabric would announce the precision on stderr, before errors too; training says it in its own
# first line
logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)


def make_fabric(device: str, precision: str) -> Fabric:
    """Return a launched Fabric: one process on one device, or this one of several.

    Parameters
    ----------
    device : "auto" for the GPU if there is one, "cpu", "cuda", "cuda:1", "mps"
    precision : "auto", "float32" or "bfloat16"

    Raises
    ------
    ValueError
        If there is no such device, not as many as processes, or srun was told less than is needed.
    """
    launch = find_launch()
    _check_processes(device, launch)
    # its own: else each process would take memory of the first GPU too
    own = find_device(local_device(device))
    # alone, and told so: inside a SLURM allocation Fabric would wait for others
    options: dict = {
        "accelerator": own.type,
        "precision": choose_precision(precision, own),
        "devices": 1,
        "plugins": [LightningEnvironment()],
    }
    if launch.world > 1:
        # named, since Fabric takes a job called "bash" or "interactive" for one process
        options |= {
            "devices": launch.local_world,
            "num_nodes": launch.world // launch.local_world,
            "strategy": "ddp",
            "plugins": [slurm_environment()] if launch.launcher == "slurm" else [],
        }
    elif own.index is not None and own.type != "cpu":  # the CPU is one device
        options["devices"] = [own.index]
    fabric = Fabric(**options)
    fabric.launch()
    return fabric


def _check_processes(device: str, launch: Launch) -> None:
    if launch.world > 1 and device.startswith(("mps", "cuda:")):
        raise ValueError(
            f"device '{device}' with {launch.world} processes: use 'auto', 'cuda' or 'cpu'; each "
            "process takes the GPU of its own number"
        )
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device in ("auto", "cuda") and 0 < gpus < launch.local_world:
        raise ValueError(
            f"{launch.local_world} processes on this machine, but each sees {gpus} GPUs; start as "
            "many as there are GPUs (--nproc-per-node), and under SLURM let each see all (--gres, "
            "no --gpus-per-task)"
        )


def choose_precision(name: str, device: torch.device) -> str:
    """Return Fabric's name of a precision; "auto" is bfloat16 where the hardware multiplies it."""
    if name == "auto":
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else device.type == "cpu" and _cpu_has_bfloat16()
        )
        name = "bfloat16" if fast else "float32"
    return FABRIC_PRECISIONS[name]


def _cpu_has_bfloat16() -> bool:
    # AVX512 without these instructions emulates bfloat16 and is slower than float32
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over all processes; on a GPU this only queues the work."""
    if not distributed.is_initialized():
        return value
    total = value.clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def share_buffers(module: torch.nn.Module) -> None:
    """Give all processes the first one's buffers: without SyncBatchNorm each has its own."""
    if distributed.is_initialized():
        for buffer in module.buffers():
            distributed.broadcast(buffer, src=0)
