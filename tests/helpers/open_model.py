"""The scripts of the open model, which are no part of the package."""

import importlib.util
import sys
from types import ModuleType

from helpers.sampledata import ROOT

FOLDER = ROOT / "benchmarks" / "open_model"


def script(name: str) -> ModuleType:
    """Return a script of benchmarks/open_model as a module of its own name."""
    name_here = f"open_model_{name}"
    if name_here not in sys.modules:
        spec = importlib.util.spec_from_file_location(name_here, FOLDER / f"{name}.py")
        sys.modules[name_here] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name_here])
    return sys.modules[name_here]
