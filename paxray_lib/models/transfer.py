"""Weights of one network in another one, with other labels or in another order."""

import os

import torch
from torch import nn

from paxray_lib.labels.matching import match
from paxray_lib.labels.table import LabelSet
from paxray_lib.models.build import make_network
from paxray_lib.models.checkpoints import load_model
from paxray_lib.models.segmenter import AnatomySegmenter


def start_from(model: AnatomySegmenter, path: str | os.PathLike) -> str:
    """Give a new model the weights of a file, and return in a line what was taken.

    Weights go by key; those of the last layer, a row for each label, by label name, where equal
    names pair in order of occurrence. Rows of labels that the file lacks stay as they are. Labels
    and preprocessing are those of `model`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_model`; if the file's network is of another architecture or encoder.
    """
    source = load_model(path)
    ours, theirs = ({"head_stride": 1, **some.config} for some in (model, source))
    keys = ("architecture", "encoder", "head_stride")
    if wrong := [f"{k} {theirs[k]!r}, not {ours[k]!r}" for k in keys if theirs[k] != ours[k]]:
        raise ValueError(
            f"{path}: a network with the {' and '.join(wrong[:2])}; set what the file has, or "
            "start from another file"
        )
    rows = torch.from_numpy(match(model.labels, source.labels))  # (L,)
    taken = rows >= 0
    weights, target = source.network.state_dict(), model.network.state_dict()
    layer = last_layer(model)
    for name in (f"{layer}.weight", f"{layer}.bias"):
        merged = target[name].clone()
        merged[taken] = weights[name][rows[taken]]
        weights[name] = merged
    model.network.load_state_dict(weights)
    count = int(taken.sum())
    new = [name for name, has in zip(model.labels.display_names, taken, strict=True) if not has]
    names = f" ({', '.join(new[:5])}{', ...' if len(new) > 5 else ''})" if new else ""
    return (
        f"starts from {path} ({source.name}): all layers, of the last one the rows of {count} "
        f"labels; anew: {len(new)} labels{names}; left out: {len(source.labels) - count} of its"
    )


def only_labels(model: AnatomySegmenter, labels: LabelSet) -> AnatomySegmenter:
    """Return a copy of a model for some of its labels, in the order of `labels`.

    Raises ValueError if it lacks one.
    """
    rows = match(labels, model.labels)  # (L,)
    if missing := [labels.display_names[i] for i in range(len(labels)) if rows[i] < 0]:
        raise ValueError(f"the model has no labels {', '.join(missing[:5])}; use another")
    layer = last_layer(model)
    weights = model.network.state_dict()
    for name in (f"{layer}.weight", f"{layer}.bias"):
        weights[name] = weights[name][torch.from_numpy(rows)]
    network = make_network(model.config, len(labels))
    network.load_state_dict(weights)
    return AnatomySegmenter(network, model.config, labels, model.preprocessing)


def last_layer(model: AnatomySegmenter) -> str:
    """Return the name of the convolution whose outputs are the labels."""
    convolutions = [
        (name, module)
        for name, module in model.network.named_modules()
        if isinstance(module, nn.Conv2d) and name.startswith(("head.out.", "segmentation_head"))
    ]
    return convolutions[-1][0]
