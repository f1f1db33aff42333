"""PAXRay workbench: multi-label anatomy segmentation of chest X-rays.

The house in rooms. Each imports only from rooms before it; its docstring says what it is for:

    utils < labels < compute < images < masks < metrics < models < graphs < data < importing
          < projection < quality < ct < prediction < measurement < evaluation < phantoms
          < training < viz < review < viewer < runs < results < cli

Data flow from ``phantoms`` or ``ct`` (or a download, ``data.fetch``) as images and packed masks
(``images``, ``masks``) through ``data`` to ``training``, whose models (``models``) are scored by
``evaluation``, applied by ``prediction`` and shown by ``viz`` and ``viewer``. ``runs`` executes
the notebooks.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from paxray_lib.utils.extras import missing_extra

if TYPE_CHECKING:
    from paxray_lib.data.dataset import PaxrayDataset
    from paxray_lib.evaluation.evaluate import evaluate
    from paxray_lib.labels.table import LABELS, LabelSet
    from paxray_lib.masks.packed import PackedMasks
    from paxray_lib.measurement.each import predict_each
    from paxray_lib.models.build import build_model
    from paxray_lib.models.checkpoints import load_model
    from paxray_lib.prediction.predict import predict
    from paxray_lib.training.config import TrainConfig
    from paxray_lib.training.loop import fit
    from paxray_lib.viewer.widget import LabelViewer
    from paxray_lib.viz.overlay import visualize_certain_labels, visualize_label

__all__ = [
    "LABELS",
    "LabelSet",
    "LabelViewer",
    "PackedMasks",
    "PaxrayDataset",
    "TrainConfig",
    "build_model",
    "evaluate",
    "fit",
    "load_model",
    "predict",
    "predict_each",
    "visualize_certain_labels",
    "visualize_label",
]
__version__ = "0.1.0"

_HOMES = {
    "LABELS": "labels.table",
    "LabelSet": "labels.table",
    "LabelViewer": "viewer.widget",
    "PackedMasks": "masks.packed",
    "PaxrayDataset": "data.dataset",
    "TrainConfig": "training.config",
    "build_model": "models.build",
    "evaluate": "evaluation.evaluate",
    "fit": "training.loop",
    "load_model": "models.checkpoints",
    "predict": "prediction.predict",
    "predict_each": "measurement.each",
    "visualize_certain_labels": "viz.overlay",
    "visualize_label": "viz.overlay",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `paxray --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'paxray_lib' has no attribute {name!r}")
    try:
        with _kept_for_good():
            value = getattr(import_module(f"paxray_lib.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (line := missing_extra(error)) is None:
            raise
        raise ModuleNotFoundError(f"{name}: {line}", name=error.name) from error
    globals()[name] = value
    return value


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """Spare what is imported meanwhile the search for garbage, then and later.

    Torch and what comes with it are half a million objects, none of them garbage. All else that
    is alive then is spared, too: so only until torch is there, and with it what fills memory.
    """
    if not gc.isenabled() or "torch" in sys.modules:
        yield
        return
    gc.collect()  # what is garbage before is not kept
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def __dir__() -> list[str]:
    return __all__
