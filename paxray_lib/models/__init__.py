"""Networks: built by name, their weights and checkpoints, and how one is applied to an image.

segmenter    the model type: a network with its labels and preprocessing
build        networks by name, with the weights of their encoders
published    the network of the PAXRay paper
weights      files of weights, read safely and compared key by key
checkpoints  models saved and loaded
transfer     a new network that starts from the weights of another
portable     models in one file to give away
named        models known by a name: "open", "cxas"
digest       what they are compared by with what was saved
folding      a faster copy of a model for inference
config       what a model's config says without its network
decisions    from logits to bits
strays       stray pieces among them
outlines     decisions at an image's own size
inference    an image, or a batch, through a model to logits, packed bits or masks
describe     a network in about ten lines
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paxray_lib.models.build import build_model
    from paxray_lib.models.checkpoints import load_model, read_extra, save_model
    from paxray_lib.models.decisions import pack_decisions
    from paxray_lib.models.folding import optimize_for_inference
    from paxray_lib.models.inference import decide, predict_image, predict_probabilities
    from paxray_lib.models.segmenter import AnatomySegmenter

__all__ = [
    "AnatomySegmenter",
    "build_model",
    "decide",
    "load_model",
    "optimize_for_inference",
    "pack_decisions",
    "predict_image",
    "predict_probabilities",
    "read_extra",
    "save_model",
]
_HOMES = {
    "AnatomySegmenter": "segmenter",
    "build_model": "build",
    "decide": "inference",
    "load_model": "checkpoints",
    "optimize_for_inference": "folding",
    "pack_decisions": "decisions",
    "predict_image": "inference",
    "predict_probabilities": "inference",
    "read_extra": "checkpoints",
    "save_model": "checkpoints",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: what follows the network must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
