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
outlines     decisions at an image's own size
inference    an image, or a batch, through a model to logits, packed bits or masks
describe     a network in about ten lines
"""

from paxray_lib.models.build import build_model
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.decisions import pack_decisions
from paxray_lib.models.folding import optimize_for_inference
from paxray_lib.models.inference import decide, each_logits, predict_image, predict_probabilities
from paxray_lib.models.segmenter import AnatomySegmenter

__all__ = [
    "AnatomySegmenter",
    "build_model",
    "decide",
    "each_logits",
    "load_model",
    "optimize_for_inference",
    "pack_decisions",
    "predict_image",
    "predict_probabilities",
    "read_extra",
    "save_model",
]
