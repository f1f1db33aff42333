"""Pages of a run: each executed notebook as one HTML file, and index.html as the way in; all open without a network."""

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

import yaml

from paxray_lib.common import atomic_write
from paxray_lib.runfolder import now, read_json, write_text

# nbconvert keeps the first kind that an output has. Its own order for pages puts a widget's view, which needs scripts
# from the network, before the HTML that a widget may bring for readers without a kernel.
_OUTPUT_PRIORITY = [
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/markdown",
    "text/latex",
    "text/plain",
]
_URLS = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "mermaid_layout_elk_js_url")
_PICTURES = 8
_PICTURE_BYTES = 2_000_000
_MARKS = {"done": "✓", "failed": "✕", "interrupted": "◼", "running": "…", "pending": "·"}


def notebook_page(notebook: Path) -> Path:
    """Write an executed notebook as HTML beside it, with pictures and styles inside, and return the page's path.

    Widgets appear as the text/html that they carry. Formulas stay as typed, since MathJax would come from the network.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("widgets", None)  # their saved state would load the widget manager from the network
    priority = {"display_data_priority": _OUTPUT_PRIORITY}
    config = Config(NbConvertBase=priority)
    body, _ = HTMLExporter(config=config, embed_images=True, **dict.fromkeys(_URLS, "")).from_notebook_node(
        content, {"metadata": {"name": notebook.stem, "path": str(notebook.parent)}}
    )
    back = '<p style="margin: 1em 2em; font-family: sans-serif"><a href="../index.html">← all of this run</a></p>'
    body = re.sub(r"<body[^>]*>", lambda match: match[0] + back, body, count=1)
    page = notebook.with_suffix(".html")
    write_text(page, body)
    return page


def write_index(run_dir: Path, status: Mapping[str, Any]) -> Path:
    """Write index.html: how the run went, its scores, pictures, settings and files; return its path.

    Parameters
    ----------
    run_dir : folder of the run
    status : as runfolder.read_status returns it
    """
    page = Template(_PAGE).substitute(
        name=html.escape(run_dir.name),
        state=html.escape(status["state"]),
        mark=_MARKS[status["state"]],
        when=_when(status),
        trouble=_trouble(status),
        scores=_section("Scores", _scores(run_dir / "evaluation" / "summary.json")),
        steps=_steps(run_dir, status["steps"]),
        pictures=_section("Pictures", _pictures(run_dir)),
        settings=_settings(run_dir / "config.yaml"),
        files=_files(run_dir),
        written=now().replace("T", " ").replace("+00:00", " UTC"),
    )
    with atomic_write(run_dir / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run_dir / "index.html"


def duration(seconds: float) -> str:
    """Say a time span in words.

    >>> duration(4.25), duration(93), duration(7325)
    ('4.2 s', '1 min 33 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _when(status: Mapping[str, Any]) -> str:
    start = datetime.fromisoformat(status["start"])
    text = f"started {start:%Y-%m-%d %H:%M} UTC"
    seconds = sum(step.get("seconds", 0) for step in status["steps"])
    return f"{text} · {duration(seconds)} in notebooks" if seconds else text


def _trouble(status: Mapping[str, Any]) -> str:
    bad = [step for step in status["steps"] if step["state"] in ("failed", "interrupted")]
    return "".join(_trouble_of(step) for step in bad)


def _trouble_of(step: Mapping[str, Any]) -> str:
    cell = f", cell In [{step['cell_number']}]" if "cell_number" in step else ""
    source = f"<pre>{html.escape(step['source'])}</pre>" if step.get("source") else ""
    heading = f"<strong>{html.escape(step['name'])}{cell}</strong>"
    return f'<aside class="{step["state"]}">{heading}<br>{html.escape(step.get("error", ""))}{source}</aside>'


def _steps(run_dir: Path, steps: list[Mapping[str, Any]]) -> str:
    return _table("".join(_step_row(run_dir, step) for step in steps), ("Notebook", "State", "Time", "Files"))


def _step_row(run_dir: Path, step: Mapping[str, Any]) -> str:
    stem = f"notebooks/{step['name']}"
    made = [suffix for suffix in ("html", "ipynb") if (run_dir / f"{stem}.{suffix}").is_file()]
    links = " · ".join(_link(f"{stem}.{suffix}", suffix) for suffix in made)
    name = html.escape(_title(run_dir / f"{stem}.ipynb"))
    title = _link(f"{stem}.html", name, escaped=True) if "html" in made else name
    state = f'<span class="state {step["state"]}">{_MARKS[step["state"]]} {step["state"]}</span>'
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
    """Show a summary of nested scores: a line for each group of plain values, a column for each name among them."""
    summary = read_json(path)
    lines = list(_leaves(summary))
    if not lines:
        return ""
    about = {key: value for key, value in summary.items() if not isinstance(value, dict)}
    columns = list(dict.fromkeys(key for _, values in lines for key in values))
    rows = "".join(_score_row(name, [values.get(key) for key in columns]) for name, values in lines)
    note = " · ".join(f"{html.escape(_words(key))}: {_score(value)}" for key, value in about.items())
    return _table(rows, ("", *map(_words, columns))) + (f"<p>{note}</p>" if note else "")


def _leaves(value: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    plain = {key: item for key, item in value.items() if not isinstance(item, (dict, list))}
    if plain and name:
        yield name, plain
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{name} · {_words(key)}" if name else _words(key))


def _score_row(name: str, values: list[Any]) -> str:
    cells = "".join(f'<td class="number">{_score(value)}</td>' for value in values)
    return f"<tr><td>{html.escape(name)}</td>{cells}</tr>"


def _score(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else html.escape(str(value))


def _words(key: str) -> str:
    return key.replace("_", " ").replace("iou", "IoU").replace("dice", "Dice")


def _pictures(run_dir: Path) -> str:
    paths = sorted((run_dir / "overlays").glob("*.png"))
    small = [path for path in paths if path.stat().st_size <= _PICTURE_BYTES][:_PICTURES]
    return f'<div class="pictures">{"".join(map(_picture, small))}</div>' if small else ""


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    stem = html.escape(path.stem)
    image = f'<img alt="{stem}" src="data:image/png;base64,{data}">'
    return f"<figure>{_link(f'overlays/{path.name}', image, escaped=True)}<figcaption>{stem}</figcaption></figure>"


def _settings(path: Path) -> str:
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td><code>{html.escape(text)}</code></td></tr>"
        for key, text in ((key, json.dumps(value, ensure_ascii=False)) for key, value in settings.items())
    )
    return _table(rows, ("Setting", "Value")) if rows else "<p>The notebooks' own values throughout.</p>"


def _files(run_dir: Path) -> str:
    """List the top of the run's folder, and one level of what is below."""
    rows = [_file_row(run_dir, path) for path in sorted(run_dir.iterdir()) if _is_listed(path)]
    return _table("".join(rows), ("File or folder", "Size", "What is inside"))


def _is_listed(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != "index.html"


def _file_row(run_dir: Path, path: Path) -> str:
    below = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else []
    size = sum(item.stat().st_size for item in below) if path.is_dir() else path.stat().st_size
    shown = [_link(str(item.relative_to(run_dir)), str(item.relative_to(path))) for item in below[:4]]
    more = f" and {len(below) - 4} more" if len(below) > 4 else ""
    name = path.name + ("/" if path.is_dir() else "")
    inside = ", ".join(shown) + more
    return f'<tr><td>{_link(name, name)}</td><td class="number">{_size(size)}</td><td>{inside}</td></tr>'


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _link(target: str, text: str, escaped: bool = False) -> str:
    from urllib.parse import quote

    return f'<a href="{quote(target)}">{text if escaped else html.escape(text)}</a>'


def _section(heading: str, body: str) -> str:
    return f"<h2>{heading}</h2>\n{body}" if body else ""


def _table(rows: str, headings: tuple[str, ...]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$name · PAXRay run</title>
<style>
:root { --text: #1c2127; --soft: #5d6874; --line: #dfe3e8; --back: #fff; --panel: #f5f7f9; --link: #0b62b0;
  --done: #1a7f45; --failed: #b3261e; --interrupted: #9a5b00; --running: #0b62b0; --pending: #5d6874; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #9ba6b1; --line: #343c45; --back: #14181d;
  --panel: #1d232a; --link: #7fbdf5; --done: #63cf90; --failed: #ff8a80; --interrupted: #f0b35c; --running: #7fbdf5;
  --pending: #9ba6b1; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem; color: var(--text); background: var(--back);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere }
h2 { margin: 2.4rem 0 .6rem; font-size: 1.15rem }
p.when { margin: .4rem 0 0; color: var(--soft) }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .94rem }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .82rem }
th, td { padding: .42rem 1.1rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td { overflow-wrap: anywhere } td:first-child { min-width: 11rem }
.number { font-variant-numeric: tabular-nums; white-space: nowrap }
.state { white-space: nowrap; font-weight: 600 }
.done { color: var(--done) } .failed { color: var(--failed) } .interrupted { color: var(--interrupted) }
.running { color: var(--running) } .pending { color: var(--pending); font-weight: 400 }
h1 .state { font-size: 1rem; margin-left: .6rem; vertical-align: middle }
aside { margin: 1.4rem 0 0; padding: .8rem 1rem; background: var(--panel); border-left: 4px solid currentColor;
  border-radius: 0 6px 6px 0; overflow-wrap: anywhere }
aside pre { margin: .6rem 0 0; color: var(--text); white-space: pre-wrap }
code, pre { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { color: var(--soft); font-size: .82rem; overflow-wrap: anywhere }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: #000 }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
@media print { body { max-width: none; padding: 0; font-size: 11pt }
  h2 { break-after: avoid } tr, figure { break-inside: avoid } }
</style>
</head>
<body>
<h1>$name <span class="state $state">$mark $state</span></h1>
<p class="when">$when</p>
$trouble
<h2>Notebooks</h2>
$steps
$scores
$pictures
<h2>Settings</h2>
$settings
<h2>Files</h2>
$files
<footer>Page written $written. Versions, git state and the data's fingerprint are in
<a href="environment.txt">environment.txt</a>;
<a href="status.json">status.json</a> is the run's current state.</footer>
</body>
</html>
"""
