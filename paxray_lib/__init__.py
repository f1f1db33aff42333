"""PAXRay workbench: multi-label anatomy segmentation of chest X-rays.

The modules, in the order in which data flow through them:

    labels -> masks, images -> dataset, augment -> model, losses -> train -> metrics, evaluate -> predict
    phantom, projection, ct, derive, project, download   where data come from
    check, explore, plots, overlay, picker, viewer   how people look at them
    survey -> rules, audit, check, explore   whether the data can be trusted
    measure, closing, options   what is made of predicted masks, and what the options of a prediction gain
    counting, surface, reliability -> tables, bootstrap, compare   what an evaluation is made of
    processes   several processes that share a training, an evaluation, a prediction
    batch, sweep, cli   the notebooks headless, one run or several compared, and the `paxray` command
"""

import sys
from importlib import import_module
from types import ModuleType

_HOME = {
    "LABELS": "labels",
    "LabelSet": "labels",
    "LabelViewer": "viewer",
    "PackedMasks": "masks",
    "PaxrayDataset": "dataset",
    "TrainConfig": "trainconfig",
    "build_model": "model",
    "evaluate": "evaluate",
    "fit": "train",
    "load_model": "model",
    "predict": "predict",
    "visualize_certain_labels": "overlay",
    "visualize_label": "overlay",
}
__all__ = sorted(_HOME)
__version__ = "0.1.0"


class _Package(ModuleType):
    """Public names are imported when first used: `paxray --help` must not wait six seconds for torch."""

    def __getattr__(self, name: str):
        if name not in _HOME:
            raise AttributeError(f"module 'paxray_lib' has no attribute {name!r}")
        setattr(self, name, getattr(import_module(f"paxray_lib.{_HOME[name]}"), name))
        return self.__dict__[name]

    def __setattr__(self, name: str, value) -> None:
        # importing the module `evaluate` would replace the function of that name: keep the function
        super().__setattr__(name, getattr(value, name) if name in _HOME and isinstance(value, ModuleType) else value)

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Package
