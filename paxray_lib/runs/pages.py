"""What the pages of runs and sweeps share: one style, for screen and print, and small pieces of
HTML.

A page is one file: styles and pictures inside, links relative to its folder, nothing from a
network."""

import base64
import html
import math
import os
from string import Template
from urllib.parse import quote

from paxray_lib.utils.files import now

MARKS = {"done": "✓", "failed": "✕", "interrupted": "◼", "running": "…", "pending": "·"}


def page(title: str, kind: str, body: str, footer: str) -> str:
    """Return a whole page.

    Parameters
    ----------
    title, kind : plain text; the browser's tab shows both
    body, footer : HTML
    """
    parts = {"title": html.escape(title), "kind": html.escape(kind), "body": body, "footer": footer}
    return Template(_PAGE).substitute(parts, style=_STYLE, written=_time())


def heading(name: str, state: str) -> str:
    """Return the page's first line: a name and a state.

    A page stays as it is when what it tells of is killed: what it calls running, was so when it was
    written."""
    text = f"running when this page was written, {_time()}" if state == "running" else state
    return f"<h1>{html.escape(name)} {state_mark(state, text)}</h1>"


def state_mark(state: str, text: str | None = None) -> str:
    """Return a state with its mark and colour; `text` says more of it."""
    return f'<span class="state {state}">{MARKS[state]} {html.escape(text or state)}</span>'


def note(text: str | None) -> str:
    """Return a remark that must not be overlooked, or nothing."""
    return f'<aside class="interrupted">{html.escape(text)}</aside>' if text else ""


def link(target: str, text: str, escaped: bool = False) -> str:
    """Return a link to a file below the page's folder; `escaped`: the text is HTML already.

    The name of the file is that of the disk, byte for byte, also where it is not UTF-8.
    """
    return f'<a href="{quote(os.fsencode(target))}">{text if escaped else html.escape(text)}</a>'


def _time() -> str:
    return now().replace("T", " ").replace("+00:00", " UTC")


def section(heading: str, body: str) -> str:
    """Return a heading and what stands below it, or nothing if that is empty."""
    return f"<h2>{html.escape(heading)}</h2>\n{body}\n" if body else ""


def table(rows: str, headings: tuple[str, ...], numbers: bool = False) -> str:
    """Return a table; `rows` is HTML, `numbers` puts all headings but the first over right-aligned
    columns.
    """
    kind = ' class="number"' if numbers else ""
    head = "".join(
        f"<th{kind if place else ''}>{html.escape(text)}</th>"
        for place, text in enumerate(headings)
    )
    shape = "wide numbers" if numbers else "wide"
    return f'<div class="{shape}"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def chart(svg: bytes, caption: str, narrow: bool = False) -> str:
    """Return a figure from an SVG file's bytes, sharp in print, with a sentence below it."""
    data = base64.b64encode(svg).decode()
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/svg+xml;base64,{data}">'
    return f'<figure class="chart{" narrow" if narrow else ""}">{image}<figcaption>{text}</figcaption></figure>'


def score_text(
    value: float | None, low: float | None = None, high: float | None = None, sign: str = ""
) -> str:
    """Return a score with three decimals and its interval below it, if it has one; NaN and None are
    unknown.

    >>> score_text(0.5361, 0.494, 0.577)
    '0.536<br><small>0.494–0.577</small>'
    """
    if value is None or math.isnan(value):
        return "–"
    known = low is not None and high is not None and not math.isnan(low + high)
    dash = " to " if sign else "–"  # no dash between a sign and a sign
    return f"{value:{sign}.3f}" + (
        f"<br><small>{low:{sign}.3f}{dash}{high:{sign}.3f}</small>" if known else ""
    )


def size(number: float) -> str:
    """Say a number of bytes in words.

    >>> size(812), size(4510), size(44_700_000)
    ('812 B', '4.5 kB', '45 MB')
    """
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def words(key: str) -> str:
    """Return a key of a summary as people read it.

    >>> words("iou_present")
    'IoU present'
    """
    return key.replace("_", " ").replace("iou", "IoU").replace("dice", "Dice")


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title · $kind</title>
<style>
$style
</style>
</head>
<body>
$body
<footer>Page written $written. $footer</footer>
</body>
</html>
"""

_STYLE = """
:root { --text: #1c2127; --soft: #5d6874; --line: #dfe3e8; --back: #fff; --panel: #f5f7f9; --link: #0b62b0;
  --done: #1a7f45; --failed: #b3261e; --interrupted: #9a5b00; --running: #0b62b0; --pending: #5d6874; }
@media screen and (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #9ba6b1; --line: #343c45;
  --back: #14181d; --panel: #1d232a; --link: #7fbdf5; --done: #63cf90; --failed: #ff8a80; --interrupted: #f0b35c;
  --running: #7fbdf5; --pending: #9ba6b1; } }
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
figure.chart { margin: 1rem 0 } figure.chart img { background: #fff; border-radius: 0 }
figure.narrow img { max-width: 40rem }
figure.chart figcaption, p.note { color: var(--soft); font-size: .88rem; max-width: 46rem }
h3 { margin: 1.4rem 0 .4rem; font-size: 1rem }
.numbers td.number, .numbers th.number { text-align: right; padding: .42rem 0 .42rem .6rem }
.numbers table { font-size: .87rem }
.numbers th.number { white-space: normal; vertical-align: bottom }
.numbers small { font-size: .76em; white-space: nowrap }
.numbers td:first-child { min-width: 5.5rem; overflow-wrap: normal; padding-right: 0 }
@page { margin: 14mm }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt }
  .wide { overflow-x: visible } table, .numbers table { font-size: 8.5pt } th, td { padding: .25rem .6rem .25rem 0 }
  td:first-child { min-width: 0 } .numbers td:first-child { min-width: 4.5rem }
  .number { white-space: normal }
  .numbers td.number, .numbers th.number { padding: .2rem 0 .2rem .3rem } .numbers table { font-size: 7.5pt }
  .numbers th { font-size: 7pt }
  thead { display: table-header-group } h2 { break-after: avoid } tr, figure, aside { break-inside: avoid }
  a { color: inherit; text-decoration: underline } footer { break-inside: avoid } }
"""
