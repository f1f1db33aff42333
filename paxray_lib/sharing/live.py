"""A page that segments films in the reader's own browser: the model as ONNX, and what runs it.

What runs it is onnxruntime-web, of which `npm pack onnxruntime-web` gives the archive.
"""

import base64
import os
import tarfile
import tempfile
import zlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from paxray_lib.graphs.network import read_network
from paxray_lib.graphs.session import open_model
from paxray_lib.labels import LabelSet
from paxray_lib.models.named import MODELS, find_weights
from paxray_lib.models.portable import read_portable
from paxray_lib.sharing.page import SIZE, TRAITS
from paxray_lib.utils import parse_json, read_bytes, write_text
from paxray_lib.utils.errors import naming_errors
from paxray_lib.utils.files import open_file
from paxray_lib.viewer.assets import CSS, MODULE, label_table
from paxray_lib.viewer.offline_page import as_text

#: Files in the archive of onnxruntime-web: the module for one thread, and its WebAssembly.
PARTS = {
    "about": "package/package.json",
    "runtime": "package/dist/ort.wasm.bundle.min.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}
_MOST_PART = 64 << 20  # bytes of a file in the archive
_REMEDY = "fetch it again by: npm pack onnxruntime-web"
_SHOWN = ("lung_right", "lung_left", "heart")


def export_live(
    runtime: str | os.PathLike, out: str | os.PathLike, weights: str | os.PathLike = "open"
) -> int:
    """Write a page that segments the films that are dropped on it; return its size in bytes.

    Parameters
    ----------
    runtime : archive (.tgz) of onnxruntime-web, of which the page holds two files
    out : the page, whose name ends in .html
    weights : as for `load_model`

    Raises
    ------
    FileNotFoundError, ValueError
        If the archive is missing, damaged or of something else, or `out` has another suffix. For
        weights see `export_onnx`.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{out}: a page is written under a name that ends in .html")
    parts, version = _read_runtime(Path(runtime))
    about = read_portable(find_weights(weights)) or {}
    parts["graph"] = graph = _graph_of(weights)
    labels = read_network(graph, Path(weights)).labels
    page = jinja2.Template(_text("live.html"), autoescape=True).render(
        {name: Markup(_packed(data)) for name, data in parts.items()},
        state=Markup(_state(labels, about.get("threshold", 0.5))),
        css=Markup(CSS),
        style=Markup(_text("live.css")),
        script=Markup(
            MODULE[: MODULE.rindex("export default")] + _text("dicom.js") + _text("live.js")
        ),
        segment=Markup(_text("segment.js")),
        name="the open model of PAXRay" if str(weights) == "open" else Path(weights).resolve().name,
        licence=about.get("licence", "not stated"),
        sources=about.get("sources", []),
        version=version,
    )
    write_text(out, page)
    return out.stat().st_size


def _graph_of(weights: str | os.PathLike) -> bytes:
    """Return a model as an ONNX file; the open one as it lies in the package, without torch."""
    if find_weights(weights) == MODELS["open"][0]:
        return open_model()
    from paxray_lib.graphs.export import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(weights, path)
        return read_bytes(path)


def _state(labels: LabelSet, threshold: float) -> str:
    """Return what the page begins with, as JSON."""
    shown = [name for name in _SHOWN if name in labels.names]
    traits = {
        **TRAITS,
        "selected": shown or [labels.names[0]],
        "_labels": label_table(labels),
        "_items": {"names": [], "views": [], "scores": {}, "ranks": [], "highest": []},
    }
    return as_text({"traits": traits, "size": SIZE, "threshold": threshold})


def _read_runtime(path: Path) -> tuple[dict[str, bytes], str]:
    """Return the files of `PARTS` in an archive, and its version."""
    parts = {}
    with (
        open_file(path) as file,
        naming_errors(path, "no archive of onnxruntime-web", _REMEDY),
        tarfile.open(fileobj=file, mode="r:gz") as archive,
    ):
        for name, member in PARTS.items():
            content = archive.extractfile(member)
            if content is None or (size := archive.getmember(member).size) > _MOST_PART:
                raise ValueError(f"{member} is no file of at most {_MOST_PART >> 20} MiB")
            parts[name] = content.read(size)
        package = parse_json(parts["about"], PARTS["about"])
        if package["name"] != "onnxruntime-web":
            raise ValueError(f"its name is {package['name']!r:.80}")
    return parts, str(package["version"])


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
