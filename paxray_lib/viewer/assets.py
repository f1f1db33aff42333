"""What every page of the viewer holds: its script, its style, the table of labels.

It needs no package of notebooks, so that pages are written without them.
"""

import json
from pathlib import Path
from typing import Any

from paxray_lib.labels import LabelSet

# joined into one module
_SCRIPTS = "masks blending heat strokes page store tree camera drawing"
_SCRIPTS += " viewer beside doubt_view painter desk reviewing offline"


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


#: JavaScript of the page, as a module that anywidget takes.
MODULE = f"const TEMPLATE = {json.dumps(_read('viewer.html'))};\n"
MODULE += "".join(_read(f"{name}.js") for name in _SCRIPTS.split())
CSS = _read("viewer.css")


def label_table(labels: LabelSet) -> dict[str, Any]:
    """Return what the page gets of labels: a list for each column, by index."""
    return {
        "names": list(labels.names),
        "texts": list(labels.display_names),
        "groups": list(labels.group),
        "checked": list(labels.checked),
        "colors": labels.colors.tolist(),
        "tree": [list(entry) for entry in labels.tree()],
        "parents": [list(wholes) for wholes in labels.parents],
    }
