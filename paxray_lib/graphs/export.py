"""A model as one ONNX file: from the pixels of films to logits and probabilities.

Its metadata are texts, JSON but for the licence:

    labels           one name per channel
    preprocessing    how pixels become the network's input, which the graph does itself
    threshold        of the probability, by which the scores were measured; null if unknown
    licence          of the weights; empty if unknown
    sources          what they were made from; empty if unknown
    config           architecture, encoder, head_stride
    state            the names of its weights in their order, for a fingerprint of them
    any_size         whether the network takes inputs of other sizes than its own

Weights keep their names, and BatchNorm its layers, so that they can be told apart from the graph:
the graph of the open model lies in the package without them, since they are there already.
"""

import copy
import io
import json
import os
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from paxray_lib.graphs.network import (
    COARSE,
    INPUTS,
    complete,
    described,
    read_network,
    template_of,
)
from paxray_lib.graphs.pixels import FromPixels
from paxray_lib.graphs.session import OnnxSegmenter
from paxray_lib.graphs.wire import metadata
from paxray_lib.models.checkpoints import load_model
from paxray_lib.models.inference import WRONG_SIZE
from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.models.segmenter import AnatomySegmenter
from paxray_lib.utils.files import atomic_write

#: Of the operators; onnxruntime has all of them since 1.12, of 2022.
OPSET = 17
#: Between the logits of the graph and torch's, as part of the largest if that is more than 1.
TOLERANCE = 1e-3


def export_onnx(weights: str | os.PathLike, out: str | os.PathLike) -> AnatomySegmenter:
    """Write a model as an ONNX file, whole or not at all; return the model.

    The graph takes `pixels` (N, H, W) uint8, gray, high values bright, of any N, H and W, and gives
    `logits` (N, L, h, w) float32 and `probabilities` (N, L, h, w) uint8, of 255, at the network's
    own size (h, w). Its logits are compared with torch's before it is written.

    Raises
    ------
    ValueError
        If `out` does not end in .onnx, the network has something that ONNX has not, or the graph's
        logits are others than torch's. For weights see `load_model`.
    """
    out = Path(out)
    if out.suffix != ".onnx":
        raise ValueError(f"{out}: ONNX files are written under a name that ends in .onnx")
    model = load_model(weights)
    about = read_portable(find_weights(weights)) or {}
    data = _with_weights(graph_of(model), model, about)
    _compare(model, data)
    with atomic_write(out) as temporary:
        temporary.write_bytes(data)
    return model


def graph_of(model: AnatomySegmenter) -> bytes:
    """Return the graph of a model, as the bytes of an ONNX file, without its weights.

    Its metadata are those that do not depend on them.
    """
    template = template_of(_trace(model), set(model.weights()))
    texts = {
        "preprocessing": model.preprocessing.to_dict(),
        "config": model.config,
        "state": list(model.weights()),
    }
    template += metadata({key: json.dumps(value) for key, value in texts.items()})
    found = {text: template + metadata({"any_size": text}) for text in ("true", "false")}
    return found["true" if _takes_any_size(model, found["true"]) else "false"]


def _with_weights(template: bytes, model: AnatomySegmenter, about: dict) -> bytes:
    weights = {k: v.cpu().numpy() for k, v in model.weights().items() if v is not None}
    return complete(template, weights, described({**about, "labels": model.labels.names}))


def _trace(model: AnatomySegmenter) -> bytes:
    """Return a model's graph as torch writes it, with weights of no meaning."""
    film = torch.arange(2 * 70 * 50).reshape(2, 70, 50) % 251
    model = copy.deepcopy(model).cpu()
    for i, value in enumerate(v for v in model.weights().values() if v is not None):
        # equal ones would become one
        value.uniform_(generator=torch.Generator().manual_seed(i))
    stream = io.BytesIO()
    outputs = {name: {0: "images"} for name in ("logits", "probabilities", INPUTS, COARSE)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a trace takes for constant; it is compared later
        try:
            torch.onnx.export(
                FromPixels(model).eval(),
                (film.byte(),),
                stream,  # type: ignore[arg-type] # the older exporter writes to it
                dynamo=False,  # that one needs a package more
                opset_version=OPSET,
                do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE,  # or BatchNorm would go
                input_names=["pixels"],
                output_names=list(outputs),
                dynamic_axes={"pixels": {0: "images", 1: "height", 2: "width"}, **outputs},
            )
        except RuntimeError as error:  # torch's own for operators, and for what they are given
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{model.name} cannot be written as ONNX: {reason}") from error
    return stream.getvalue()


def _takes_any_size(model: AnatomySegmenter, template: bytes) -> bool:
    """Tell whether the network within a graph is torch's also for inputs of another size."""
    data = _with_weights(template, model, {})
    whole, rng = model.padded(*model.preprocessing.size), np.random.default_rng(0)
    inputs = rng.standard_normal((2, 3, *(n + 32 for n in whole)), np.float32)
    try:
        segmenter = OnnxSegmenter(read_network(data, Path(model.name)), Path(model.name))
        return _differ(segmenter.coarse_logits(inputs), model.coarse_logits(inputs)) <= TOLERANCE
    except (ValueError, *WRONG_SIZE):
        return False


def _compare(model: AnatomySegmenter, data: bytes) -> None:
    """Raise ValueError if a graph's logits of films of other sizes are not torch's."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for shape in ((1, 611, 700), (2, 90, 1200)):
        pixels = rng.integers(0, 256, shape, np.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels})
        difference = _differ(logits, _expected(model, pixels))
        if not difference <= TOLERANCE:  # written so that NaN fails too
            raise ValueError(
                f"{model.name}: logits as ONNX differ by {difference:g}, more than "
                f"{TOLERANCE:g}, in images {shape}; this network cannot be exported"
            )


def _differ(logits: np.ndarray, expected: np.ndarray) -> float:
    return np.abs(logits - expected).max() / max(1, np.abs(expected).max())


@torch.inference_mode()
def _expected(model: AnatomySegmenter, pixels: np.ndarray) -> np.ndarray:
    inputs = [model.preprocess(film / np.float32(255)) for film in pixels]
    return model(torch.from_numpy(np.stack(inputs))).numpy()
