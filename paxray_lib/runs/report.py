"""Pages of a run: each executed notebook as one HTML file, and index.html as the way in; all open
without a network.
"""

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from paxray_lib.runs.pages import (
    heading,
    link,
    note,
    page,
    score_text,
    section,
    size,
    state_mark,
    table,
    words,
)
from paxray_lib.runs.provenance import write_record
from paxray_lib.utils.files import read_json
from paxray_lib.utils.progress import duration

# nbconvert keeps the first kind that an output has. Its own order for pages puts a widget's view,
# which needs scripts from the network, before the HTML that a widget may bring for readers without
# a kernel.
_OUTPUT_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/markdown",
    "text/latex",
    "text/plain",
]
_URLS = (
    "mathjax_url",
    "require_js_url",
    "jquery_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
)
# nbconvert's style scrolls what is too wide, which paper cannot.
_PRINT_STYLE = """<style>
@page { margin: 12mm }
@media print {
  .jp-OutputArea-output, .jp-RenderedHTMLCommon, .jp-Cell-outputArea, .highlight { overflow: visible !important }
  .jp-Notebook pre { white-space: pre-wrap !important; overflow-wrap: anywhere; font-size: 7.5pt !important }
  .jp-RenderedHTMLCommon table { font-size: 7pt !important; table-layout: auto; width: auto; max-width: 100% }
  .jp-RenderedHTMLCommon :is(td, th) { padding: 1pt 3pt !important; white-space: normal !important;
    overflow-wrap: anywhere; max-width: none !important }
  .jp-InputPrompt, .jp-OutputPrompt { display: none }
  tr, img { break-inside: avoid } thead { display: table-header-group }
}
</style>
"""
_INTERVAL = "_interval"
_SMALL = (_INTERVAL, "labels_scored", "hd95_infinite_share")  # these stand below another value
_PICTURES = 8
_PICTURE_BYTES = 2_000_000


def notebook_page(notebook: Path) -> Path:
    """Write an executed notebook as HTML beside it, with pictures and styles inside, and return the
    page's path.

    Widgets appear as the text/html that they carry. Formulas stay as typed, since MathJax would
    come from the network."""
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    content = nbformat.read(notebook, as_version=4)
    # their saved state would load the widget manager from the network
    content.metadata.pop("widgets", None)
    priority = {"display_data_priority": _OUTPUT_PRIORITY}
    config = Config(NbConvertBase=priority)
    body, _ = HTMLExporter(
        config=config, embed_images=True, **dict.fromkeys(_URLS, "")
    ).from_notebook_node(
        content, {"metadata": {"name": notebook.stem, "path": str(notebook.parent)}}
    )
    back = '<p style="margin: 1em 2em; font-family: sans-serif"><a href="../index.html">← all of this run</a></p>'
    body = re.sub(r"<body[^>]*>", lambda match: match[0] + back, body, count=1)
    body = body.replace("</head>", _PRINT_STYLE + "</head>", 1)
    return write_record(
        notebook.parent.parent, f"{notebook.parent.name}/{notebook.stem}.html", body
    )


def write_index(run_dir: Path, status: Mapping[str, Any]) -> Path:
    """Write index.html: how the run went, its scores, pictures, settings and files; return its
    path.

    Parameters
    ----------
    run_dir : folder of the run
    status : as runfolder.read_status returns it
    """
    parts = (
        heading(run_dir.name, status["state"]),
        f'<p class="when">{_when(status)}</p>',
        note(status.get("note")),
        _trouble(status),
        section("Notebooks", _steps(run_dir, status["steps"])),
        section("Scores", _scores(run_dir / "evaluation" / "summary.json")),
        section("Pictures", _pictures(run_dir)),
        section("Settings", _settings(run_dir / "config.yaml")),
        section("Files", _files(run_dir)),
    )
    return write_record(
        run_dir, "index.html", page(run_dir.name, "PAXRay run", "\n".join(parts), _FOOTER)
    )


def _when(status: Mapping[str, Any]) -> str:
    start = datetime.fromisoformat(status["start"])
    text = f"started {start:%Y-%m-%d %H:%M} UTC"
    seconds = sum(step.get("seconds", 0) for step in status["steps"])
    return f"{text} · {duration(seconds)} in notebooks" if seconds else text


def _trouble(status: Mapping[str, Any]) -> str:
    bad = [step for step in status["steps"] if step["state"] in ("failed", "interrupted")]
    return "".join(map(_trouble_of, bad)) + "".join(
        note(step.get("note")) for step in status["steps"]
    )


def _trouble_of(step: Mapping[str, Any]) -> str:
    cell = f", cell In [{step['cell_number']}]" if "cell_number" in step else ""
    source = f"<pre>{html.escape(step['source'])}</pre>" if step.get("source") else ""
    where = f"<strong>{html.escape(step['name'])}{cell}</strong>"
    return f'<aside class="{step["state"]}">{where}<br>{html.escape(step.get("error", ""))}{source}</aside>'


def _steps(run_dir: Path, steps: list[Mapping[str, Any]]) -> str:
    return table(
        "".join(_step_row(run_dir, step) for step in steps), ("Notebook", "State", "Time", "Files")
    )


def _step_row(run_dir: Path, step: Mapping[str, Any]) -> str:
    stem = f"notebooks/{step['name']}"
    made = [suffix for suffix in ("html", "ipynb") if (run_dir / f"{stem}.{suffix}").is_file()]
    links = " · ".join(link(f"{stem}.{suffix}", suffix) for suffix in made)
    name = html.escape(_title(run_dir / f"{stem}.ipynb"))
    title = link(f"{stem}.html", name, escaped=True) if "html" in made else name
    state = state_mark(step["state"])
    seconds = duration(step["seconds"]) if "seconds" in step else ""
    return f'<tr><td>{title}</td><td>{state}</td><td class="number">{seconds}</td><td>{links}</td></tr>'


def _title(notebook: Path) -> str:
    """Return the notebook's first heading, or its name."""
    if not notebook.is_file():
        return notebook.stem
    for cell in read_json(notebook)["cells"]:
        if cell["cell_type"] == "markdown":
            heading = re.search(r"^#\s+(.+)$", "".join(cell["source"]), re.MULTILINE)
            if heading:
                return f"{notebook.stem[:2]} · {re.sub(r'^[0-9]+[.: ]+', '', heading[1])}"
    return notebook.stem


def _scores(path: Path) -> str:
    """Show a summary of nested scores: a line for each group of plain values, a column for each
    name among them.
    """
    summary = read_json(path)
    lines = list(_leaves(summary))
    if not lines:
        return ""
    about = {key: value for key, value in summary.items() if not isinstance(value, dict)}
    columns = list(
        dict.fromkeys(key for _, values in lines for key in values if not key.endswith(_SMALL))
    )
    rows = "".join(_score_row(name, values, columns) for name, values in lines)
    text = " · ".join(f"{html.escape(words(key))}: {_value(value)}" for key, value in about.items())
    known = any(key.endswith(_INTERVAL) for _, values in lines for key in values)
    text += " · small: 95 % intervals over patients" if known else ""
    text += (
        " · hd95 infinite: missed or invented"
        if any("hd95_median" in values for _, values in lines)
        else ""
    )
    return table(rows, ("", *map(words, columns)), numbers=True) + (
        f'<p class="note">{text}</p>' if text else ""
    )


def _leaves(value: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    plain = {key: item for key, item in value.items() if not isinstance(item, dict)}
    if plain and name:
        yield name, plain
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{name} · {words(key)}" if name else words(key))


def _score_row(name: str, values: Mapping[str, Any], columns: list[str]) -> str:
    cells = "".join(f'<td class="number">{_score(values, key)}</td>' for key in columns)
    return f"<tr><td>{html.escape(name)}</td>{cells}</tr>"


def _score(values: Mapping[str, Any], key: str) -> str:
    """Return a value with what belongs to it below: an interval, the labels with a score, the
    infinite distances.
    """
    value, share = values.get(key), values.get("hd95_infinite_share")
    if key == "labels" and "labels_scored" in values:
        return f"{value}<br><small>{values['labels_scored']} scored</small>"
    if key == "hd95_median" and share is not None:
        text = "infinite" if value is None else score_text(value)
        return f"{text}<br><small>{share:.0%} infinite</small>"
    return _value(value, values.get(key + _INTERVAL) or ())


def _value(value: Any, ends: Sequence[float] = ()) -> str:
    return (
        score_text(value, *ends)
        if value is None or isinstance(value, float)
        else html.escape(str(value))
    )


def _pictures(run_dir: Path) -> str:
    paths = sorted((run_dir / "overlays").glob("*.png"))
    small = [path for path in paths if path.stat().st_size <= _PICTURE_BYTES][:_PICTURES]
    return f'<div class="pictures">{"".join(map(_picture, small))}</div>' if small else ""


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    stem = html.escape(path.stem)
    image = f'<img alt="{stem}" src="data:image/png;base64,{data}">'
    return f"<figure>{link(f'overlays/{path.name}', image, escaped=True)}<figcaption>{stem}</figcaption></figure>"


def _settings(path: Path) -> str:
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td><code>{html.escape(text)}</code></td></tr>"
        for key, text in (
            (key, json.dumps(value, ensure_ascii=False)) for key, value in settings.items()
        )
    )
    return (
        table(rows, ("Setting", "Value"))
        if rows
        else "<p>The notebooks' own values throughout.</p>"
    )


def _files(run_dir: Path) -> str:
    """List the top of the run's folder, and one level of what is below."""
    rows = [_file_row(run_dir, path) for path in sorted(run_dir.iterdir()) if _is_listed(path)]
    return table("".join(rows), ("File or folder", "Size", "What is inside"))


def _is_listed(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != "index.html"


def _file_row(run_dir: Path, path: Path) -> str:
    below = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else []
    total = sum(item.stat().st_size for item in below) if path.is_dir() else path.stat().st_size
    shown = [
        link(str(item.relative_to(run_dir)), str(item.relative_to(path))) for item in below[:4]
    ]
    more = f" and {len(below) - 4} more" if len(below) > 4 else ""
    name = path.name + ("/" if path.is_dir() else "")
    inside = ", ".join(shown) + more
    return f'<tr><td>{link(name, name)}</td><td class="number">{size(total)}</td><td>{inside}</td></tr>'


_FOOTER = (
    "Versions, git state and the data's fingerprint are in "
    f"{link('environment.txt', 'environment.txt')}; {link('status.json', 'status.json')} is the run's current state."
)
