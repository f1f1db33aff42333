"""The scripts of the open model, which are no part of the package."""

import importlib
import sys
from types import ModuleType

from helpers.sampledata import ROOT

FOLDER = ROOT / "benchmarks" / "open_model"


def script(name: str) -> ModuleType:
    """Return a script of benchmarks/open_model; they import each other by their bare names."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    return importlib.import_module(name)
