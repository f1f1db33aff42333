"""A network in about ten lines."""

import copy
from collections.abc import Iterator

import pandas as pd
import torch
from torch import nn

from paxray_lib.models.segmenter import AnatomySegmenter


def layer_table(model: AnatomySegmenter, size: int) -> pd.DataFrame:
    """Return one row per stage of a network that has parameters, in the order of definition.

    It is indexed by the stage's name. Columns: output (channels x height x width for an image of
    `size` x `size`, empty if it is no single tensor) and parameters (their number).
    """
    model = copy.deepcopy(model).cpu().eval()  # the caller's keeps its mode and gets no hooks
    rows = {}
    for name, stage in _stages(model.network):
        parameters = sum(parameter.numel() for parameter in stage.parameters())
        row = rows[name] = {"output": "", "parameters": parameters}
        stage.register_forward_hook(
            lambda _stage, _inputs, output, row=row: row.update(output=_shape(output))
        )
    with torch.inference_mode():
        model.coarse(torch.zeros(1, 3, size, size))
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")
    return table[table["parameters"] > 0]


def _shape(output: object) -> str:
    return " x ".join(map(str, output.shape[1:])) if isinstance(output, torch.Tensor) else ""


def _stages(module: nn.Module, depth: int = 2, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a network's parts; lists of modules and single modules do not count."""
    children = dict(module.named_children())
    # timm keeps the stages of an encoder in a sequence of that name
    is_list = isinstance(module, nn.ModuleList) or name.endswith(".model.blocks")
    if not children or (depth == 0 and not is_list):
        yield name, module
        return
    for key, child in children.items():
        lower = depth - (not is_list and len(children) > 1)
        yield from _stages(child, lower, f"{name}.{key}".lstrip("."))
