"""Networks run by onnxruntime, without torch."""

import os
from pathlib import Path

import numpy as np
import onnxruntime

from paxray_lib.compute.devices import share_cores
from paxray_lib.graphs.network import (
    COARSE,
    INPUTS,
    Network,
    complete,
    described,
    read_network,
)
from paxray_lib.images.image import Image
from paxray_lib.models.config import model_name, padded_size
from paxray_lib.models.digest import weights_digest
from paxray_lib.models.named import MODELS, find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.utils.files import read_bytes

_FATAL = 4  # what goes wrong is raised; it need not be logged, too
#: The open model's graph without its weights, as `benchmarks/open_model/package.py` writes it.
OPEN_GRAPH = MODELS["open"][0].with_suffix(".onnx")


class OnnxSegmenter:
    """The network of an ONNX file on the CPU, with its labels and preprocessing.

    It is applied as an `AnatomySegmenter` is, see `models.inference.Segmenter`.

    Parameters
    ----------
    network : as `read_network` gives it
    path : its file, for errors
    """

    def __init__(self, network: Network, path: Path):
        self._network, self._path = network, path
        self.labels, self.preprocessing = network.labels, network.preprocessing
        self.name = model_name(network.config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, _ = share_cores()
        options.log_severity_level = _FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                network.data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise self._refused(error) from error
        size = (64, 64) if network.any_size else self.preprocessing.size
        self.coarse_logits(np.zeros((1, 3, *size), np.float32))  # to fail now, if it must

    def preprocess(self, image: Image | np.ndarray) -> np.ndarray:
        """Return the network's input (3, h, w) float32 from an Image, or (H, W) float in 0..1."""
        return self.preprocessing(image)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width at which the network runs for images of the given size."""
        return padded_size(self._network.config, height, width)

    def coarse_logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return (N, L, h / s, w / s) float32 logits of inputs (N, 3, h, w) float32.

        Raises RuntimeError if the network does not take that size, ValueError if the file's network
        cannot be run, or gives anything else.
        """
        size = inputs.shape[2:]
        if size != self.preprocessing.size and not self._network.any_size:
            raise RuntimeError(f"{self._path}: takes {self.preprocessing.size}, not {size}")
        missing = [(0, whole - n) for whole, n in zip(self.padded(*size), size, strict=True)]
        inputs = np.pad(inputs, [(0, 0), (0, 0), *missing], "edge")
        try:
            (coarse,) = self._session.run([COARSE], {INPUTS: np.ascontiguousarray(inputs)})
        except Exception as error:
            raise self._refused(error) from error
        if coarse.ndim != 4 or coarse.shape[:2] != (len(inputs), len(self.labels)):
            raise self._refused(f"{coarse.shape} logits of {len(self.labels)} labels")
        return coarse

    def weights_digest(self) -> str:
        """Return a fingerprint of the weights, that of the model which the file was made from."""
        return weights_digest(self._network.state.values())

    def _refused(self, reason: object) -> ValueError:
        said = " ".join(str(reason).split())[:200]
        return ValueError(
            f"{self._path}: onnxruntime cannot run it ({said}); write it again: paxray export "
            "onnx, or use another"
        )


def load_onnx(path: str | os.PathLike) -> OnnxSegmenter:
    """Load a model that `paxray export onnx` wrote, or "open", the one in the package.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is another ONNX file, or damaged.
    """
    path = find_weights(path)
    data = open_model() if path == MODELS["open"][0] else read_bytes(path)
    return OnnxSegmenter(read_network(data, path), path)


def open_model() -> bytes:
    """Return the open model as the bytes of an ONNX file: its graph, and its weights in it."""
    path, _ = MODELS["open"]
    about = read_portable(path)
    if about is None:
        raise ValueError(f"{path}: not the open model; install the package again")
    return complete(read_bytes(OPEN_GRAPH), about["model"], described(about))
