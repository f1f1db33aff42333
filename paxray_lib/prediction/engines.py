"""What runs a network: onnxruntime on the CPU, for which no torch is needed, or torch.

The open model and files of `paxray export onnx` run by onnxruntime. With a GPU, and in bfloat16,
the open model runs by torch where that is installed. All other models do.
"""

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from paxray_lib.compute.collectives import local_device
from paxray_lib.compute.devices import has_gpu
from paxray_lib.models.inference import Segmenter
from paxray_lib.models.named import MODELS, find_weights

ONNX = ".onnx"


def find_model(
    weights: str | os.PathLike, device: str = "auto", precision: str = "float32"
) -> Segmenter:
    """Load a model to predict with: by onnxruntime where the module says so, else by torch.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_model`; if an ONNX file is to run anywhere but on the CPU, or in bfloat16.
    ModuleNotFoundError
        If it needs torch, which is not there.
    """
    path = find_weights(weights)
    is_file = path.suffix.lower() == ONNX
    is_open = path == MODELS["open"][0] and path.with_suffix(ONNX).is_file()
    if is_file and (device not in ("auto", "cpu") or precision != "float32"):
        raise ValueError(
            f"{weights}: ONNX files run on the CPU in float32, not on {device} in {precision}; "
            "leave that out, or name what the file was exported from"
        )
    if is_file or (is_open and _on_cpu(device) and precision == "float32"):
        from paxray_lib.graphs.session import load_onnx

        return load_onnx(weights)
    from paxray_lib.models.checkpoints import load_model

    return load_model(weights, local_device(device))


def engine_of(model: Segmenter) -> str:
    """Return in words what runs a model."""
    parameters = _parameters(model)
    return f"torch on {next(parameters).device}" if parameters else "onnxruntime on the CPU"


@contextlib.contextmanager
def prepare(model: Any, precision: str, cores: int) -> Iterator[Segmenter]:
    """Make a model fast for a `with` block; torch gets so many cores.

    Raises ValueError if it cannot run in that precision.
    """
    if not _parameters(model):
        if precision != "float32":
            raise ValueError(f"{model.name}: ONNX files run in float32, not in {precision}")
        yield model
        return
    import torch

    from paxray_lib.models.folding import optimize_for_inference

    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        yield optimize_for_inference(model, precision)
    finally:
        torch.set_num_threads(before)


def on_gpu(model: Segmenter) -> bool:
    """Tell whether a model is on a GPU."""
    parameters = _parameters(model)
    return bool(parameters) and next(parameters).is_cuda


def _on_cpu(device: str) -> bool:
    return device == "cpu" or (device == "auto" and not (has_gpu() and find_spec("torch")))


def _parameters(model: Any) -> Any:
    """Return an iterator over the parameters of a model of torch; None of any other."""
    return model.parameters() if hasattr(model, "parameters") else None
