"""Pages of a run: each executed notebook as one HTML file, and index.html as the way in.

All of them open without a network.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from paxray_lib.evaluation.result import read_summary
from paxray_lib.metrics.surface import TOLERANCE_PX
from paxray_lib.runs.pages import TEMPLATES, read_environment, read_metrics, read_part, render
from paxray_lib.runs.plan import read_notebook
from paxray_lib.runs.provenance import saved_settings, write_record
from paxray_lib.runs.sweep_plots import plot_curves
from paxray_lib.runs.sweep_scores import SCORES
from paxray_lib.utils import open_file

#: Tag of notebook cells whose figures the run's page shows large.
REPORT_TAG = "report"
#: Scores of the page's table, in its order.
COLUMNS = (*SCORES, "precision_present", "recall_present", "nsd_present", "hd95_median")
# nbconvert keeps the first kind that an output has. Its own order for pages puts a widget's view,
# which needs scripts from the network, before the HTML that a widget may bring for readers without
# a kernel.
_IMAGES = ["image/svg+xml", "image/png", "image/jpeg"]
_OUTPUT_PRIORITY = ["text/html", *_IMAGES, "text/markdown", "text/latex", "text/plain"]
_SCRIPTS = ("mathjax", "require_js", "jquery", "mermaid_js", "mermaid_layout_elk_js")
_OVERLAYS, _PICTURE_BYTES = 8, 2_000_000


def notebook_page(notebook: Path) -> Path:
    """Write an executed notebook as HTML beside it, figures and styles inside; return its path.

    Widgets appear as the text/html that they carry. Formulas stay as typed, since MathJax would
    come from the network.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    content = nbformat.read(notebook, as_version=4)
    # their saved state would load the widget manager from the network
    content.metadata.pop("widgets", None)
    exporter = HTMLExporter(
        config=Config(NbConvertBase={"display_data_priority": _OUTPUT_PRIORITY}),
        embed_images=True,
        extra_template_paths=[str(TEMPLATES)],
        template_file="notebook.html",
        **{f"{script}_url": "" for script in _SCRIPTS},
    )
    metadata = {"name": notebook.stem, "path": str(notebook.parent)}
    page, _ = exporter.from_notebook_node(content, {"metadata": metadata})
    name = f"{notebook.parent.name}/{notebook.stem}.html"
    return write_record(notebook.parent.parent, name, page)


def write_index(run_dir: Path, status: Mapping[str, Any]) -> Path:
    """Write index.html: how the run went, its scores, figures, settings and files; return its path.

    `status` is as `runs.status.read_status` returns it.
    """
    troubles: list[str] = []
    summary = read_part(run_dir / "evaluation" / "summary.json", read_summary, troubles) or {}
    rows = list(_score_rows(summary))
    metrics = read_part(run_dir / "metrics.csv", read_metrics, troubles)
    settings = read_part(run_dir / "config.yaml", lambda _: saved_settings(run_dir), troubles)
    page = render(
        "run.html",
        kind="PAXRay run",
        name=run_dir.name,
        status=status,
        started=f"{datetime.fromisoformat(status['start']):%Y-%m-%d %H:%M}",
        seconds=sum(step.get("seconds", 0) for step in status["steps"]),
        steps=[_describe_step(run_dir, step) for step in status["steps"]],
        summary=summary,
        rows=rows,
        columns=[name for name in COLUMNS if any(name in scores for _, scores in rows)],
        about=[(key, value) for key, value in summary.items() if not isinstance(value, dict)],
        tolerance=TOLERANCE_PX,
        curve=None if metrics is None else plot_curves({run_dir.name: metrics}),
        pictures=list(_pictures(run_dir, troubles)),
        settings=[(k, json.dumps(v, ensure_ascii=False)) for k, v in (settings or {}).items()],
        troubles=troubles,
        files=list(_files(run_dir)),
        environment=read_environment(run_dir),
    )
    return write_record(run_dir, "index.html", page)


def _describe_step(run_dir: Path, step: Mapping[str, Any]) -> dict[str, Any]:
    paths = {suffix: f"notebooks/{step['name']}.{suffix}" for suffix in ("html", "ipynb")}
    files = {suffix: path for suffix, path in paths.items() if (run_dir / path).is_file()}
    return {**step, "title": _title(run_dir / paths["ipynb"]), "files": files}


def _title(notebook: Path) -> str:
    """Return the notebook's first heading, or its name."""
    content = read_part(notebook, read_notebook, [])
    for cell in content.cells if content else ():
        heading = re.search(r"^#\s+(.+)$", cell.source, re.MULTILINE)
        if cell.cell_type == "markdown" and heading:
            return f"{notebook.stem[:2]} · {re.sub(r'^[0-9]+[.: ]+', '', heading[1])}"
    return notebook.stem


def _score_rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the scores of the whole, each view and each group of a summary."""
    if "overall" in summary:
        yield "overall", summary["overall"]
    for kind in ("views", "groups"):
        for name, scores in summary.get(kind, {}).items():
            yield f"{kind} · {name.replace('_', ' ')}", scores


def _pictures(run_dir: Path, troubles: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the figures of notebook cells that are tagged `REPORT_TAG`, then overlays."""
    for notebook in sorted((run_dir / "notebooks").glob("*.ipynb")):
        about = {"path": f"notebooks/{notebook.stem}.html", "caption": f"from {_title(notebook)}"}
        content = read_part(notebook, read_notebook, troubles)
        for cell in content.cells if content else ():
            tagged = REPORT_TAG in cell.metadata.get("tags", ())
            for output in cell.get("outputs", ()) if tagged else ():
                if data := output.get("data", {}).get("image/png"):
                    yield {**about, "data": data.strip(), "wide": True}
    paths = sorted((run_dir / "overlays").glob("*.png"))
    files = [path for path in paths if path.is_file()]
    for path in [path for path in files if path.stat().st_size <= _PICTURE_BYTES][:_OVERLAYS]:
        with open_file(path) as file:
            data = base64.b64encode(file.read()).decode()
        yield {"path": f"overlays/{path.name}", "data": data, "caption": path.stem, "wide": False}


def _files(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield name, bytes and content of each file and folder at the top of the run's folder."""
    for path in sorted(run_dir.iterdir()):
        if path.name.startswith(".") or path.name == "index.html":
            continue
        items = path.rglob("[!.]*") if path.is_dir() else ()
        below = sorted(item for item in items if item.is_file())
        yield {
            "name": path.name + ("/" if path.is_dir() else ""),
            "bytes": sum(item.stat().st_size for item in ([path] if path.is_file() else below)),
            "inside": [(str(i.relative_to(run_dir)), str(i.relative_to(path))) for i in below],
        }
