"""Time the LabelViewer in JupyterLab, in headless Chromium, and report a table.

A phantom of 512 x 512 with 166 labels, and the same enlarged to 2048 x 2048. Work is the time that
a click spends in the viewer's drawing; repaint is the time from a click to the frame that shows it;
the first display counts from the arrival of the data. A stroke's sample is one movement of a brush
of 40 pixels, with all labels shown: its work is changing and drawing the masks. The heat map is of
probabilities of 256 x 256; a threshold is moved by a hundredth each time.

Needs Chromium: PAXRAY_CHROMIUM or `chromium` on the PATH."""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import cv2
import nbformat
import numpy as np
from _report import conditions, table, update
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from paxray_lib.labels import LabelSet
from paxray_lib.masks import Probabilities
from paxray_lib.phantoms.phantom import render
from paxray_lib.viewer.sources import Scene

SIZES = (512, 2048)
REPEATS = 30
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]
VIEWER = '[data-testid="viewer"]'
CLICKS = """async ({ name, repeats }) => {
    const root = document.querySelector('[data-testid="viewer"]');
    const target = root.querySelector(`[data-testid="${name}"]`);
    const works = [], repaints = [];
    for (let k = 0; k < repeats + 4; k++) {
        await new Promise(resolve => setTimeout(resolve, 40 + 13 * (k % 5)));
        const start = performance.now();
        target.click();
        await new Promise(resolve => requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = resolve;  // runs after the frame is painted
            channel.port2.postMessage(0);
        }));
        if (k < 4) continue;  // to warm up
        repaints.push(performance.now() - start);
        works.push(Number(root.dataset.drawMs));
    }
    return { works, repaints };
}"""

STROKES = """async ({ repeats, tool }) => {
    const find = id => document.querySelector(`[data-testid="${id}"]`);
    const root = find("viewer"), stage = find("stage");
    const box = find("canvas").getBoundingClientRect();
    find(`tool-${tool}`).click();
    find("brush-size").value = 40;
    const works = [], repaints = [];
    const send = (type, x, y) => stage.dispatchEvent(new PointerEvent(type, {
        clientX: x, clientY: y, pointerId: 1, isPrimary: true, buttons: 1, bubbles: true }));
    stage.setPointerCapture = () => {};  // these pointers are no real ones
    const place = k => [box.left + box.width * (0.3 + 0.4 * k / repeats),
        box.top + box.height * (0.5 + 0.2 * Math.sin(k / 4))];
    send("pointerdown", ...place(0));
    for (let k = 1; k <= repeats; k++) {
        await new Promise(resolve => setTimeout(resolve, 20 + 7 * (k % 5)));
        const start = performance.now();
        send("pointermove", ...place(k));
        works.push(Number(root.dataset.strokeMs));
        await new Promise(resolve => requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = resolve;
            channel.port2.postMessage(0);
        }));
        repaints.push(performance.now() - start);
    }
    send("pointerup", ...place(repeats));
    return { works, repaints };
}"""

HEAT = """async ({ repeats, labels }) => {
    const find = id => document.querySelector(`[data-testid="${id}"]`);
    const root = find("viewer"), works = [], repaints = [];
    find("mode-probability").click();
    for (let k = 0; k < repeats + 4; k++) {
        await new Promise(resolve => setTimeout(resolve, 40 + 13 * (k % 5)));
        const start = performance.now(), control = find(labels ? "heat-label" : "threshold");
        control.value = labels ? labels[k % 2] : 30 + k;
        control.dispatchEvent(new Event(labels ? "change" : "input"));
        await new Promise(resolve => requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = resolve;
            channel.port2.postMessage(0);
        }));
        if (k < 4) continue;  // to warm up
        repaints.push(performance.now() - start);
        works.push(Number(root.dataset.drawMs));
    }
    return { works, repaints };
}"""


def write_inputs(folder: Path) -> dict[int, int]:
    """Write image, masks and notebook of each size; return the bytes that travel for each."""
    image, masks = render(0, 0, SIZES[0])["frontal"]
    names = LabelSet(["heart", "lung_left"])
    planes = [
        cv2.GaussianBlur(masks.resize(256, 256).unpack(name)[0] * 255.0, (0, 0), 6)
        for name in names
    ]
    heat = Probabilities(np.rint(planes).astype(np.uint8), names)
    payload = {}
    for size in SIZES:
        pixels = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
        stack = masks.resize(size, size)
        Image.fromarray(pixels).save(folder / f"{size}.png")
        stack.write(folder / f"{size}.pxm")
        message = Scene("x", pixels, stack, None).to_message()
        payload[size] = sum(len(part) for part in message.values() if isinstance(part, bytes))
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        heat.write(folder / f"{size}.probabilities.npz")
        compared = f", '{size}.pxm', probabilities='{size}.probabilities.npz'"
        kinds = {f"{size}": "", f"desk{size}": ", editable=True", f"heat{size}": compared}
        for name, settings in kinds.items():
            show = f"LabelViewer('{size}.png', '{size}.pxm'{settings})"
            cells = [
                f"from paxray_lib import LabelViewer\n{show}",
                "import time\nprint('busy', flush=True)\ntime.sleep(10)",
            ]
            notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
            nbformat.write(notebook, folder / f"{name}.ipynb")
    return payload


def start_lab(folder: Path) -> tuple[subprocess.Popen, str]:
    """Start JupyterLab in a folder and return its process and address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        f"--port={port}",
        "--ServerApp.token=",
        "--allow-root",
    ]
    server = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(400):
        try:
            urllib.request.urlopen(f"{address}/api", timeout=2).close()
            return server, address
        except OSError:
            time.sleep(0.25)
    server.terminate()
    sys.exit("JupyterLab did not start")


def open_viewer(browser: Browser, address: str, name: str) -> Page:
    """Open a notebook and show its viewer."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/lab/workspaces/w{name}/tree/{name}.ipynb")
    page.get_by_text("| Idle").wait_for()
    run_cell(page, 0)
    page.wait_for_function(f"Number(document.querySelector('{VIEWER}')?.dataset.drawn) > 1")
    page.wait_for_timeout(1500)
    return page


def run_cell(page: Page, number: int) -> None:
    """Run a cell without waiting for its end."""
    page.locator(".jp-Cell").nth(number).locator(".jp-InputArea-prompt").click()
    page.keyboard.press("Control+Enter")


def toggles(page: Page, what: str, name: str, repeats: int = REPEATS) -> tuple:
    """Click a control again and again and return a row of the table."""
    times = page.evaluate(CLICKS, {"name": name, "repeats": repeats})
    ninetieth = statistics.quantiles(times["repaints"], n=10)[-1]
    works, repaints = statistics.median(times["works"]), statistics.median(times["repaints"])
    return what, f"{works:.1f}", f"{repaints:.1f}", f"{ninetieth:.1f}"


def strokes(page: Page, size: int) -> list[tuple]:
    """Return rows of drawing with all labels shown."""
    page.locator('[data-testid="all"]').click()
    rows = []
    for tool in ("brush", "eraser"):
        times = page.evaluate(STROKES, {"repeats": 2 * REPEATS, "tool": tool})
        row = [f"{size} x {size}, all 166 labels, {tool}"]
        for kind in ("works", "repaints"):
            row += [f"{statistics.median(times[kind]):.1f}"]
            row += [f"{statistics.quantiles(times[kind], n=10)[-1]:.1f}"]
        rows.append(tuple(row))
    return rows


def heat(page: Page, size: int) -> list[tuple]:
    """Return rows of the heat map: another label, and the threshold moved."""
    rows = []
    kinds = {"another label": ["heart", "lung_left"], "threshold moved": None}
    for what, labels in kinds.items():
        times = page.evaluate(HEAT, {"repeats": REPEATS, "labels": labels})
        row = [f"{size} x {size}, {what}"]
        for kind in ("works", "repaints"):
            row += [f"{statistics.median(times[kind]):.1f}"]
            row += [f"{statistics.quantiles(times[kind], n=10)[-1]:.1f}"]
        rows.append(tuple(row))
    return rows


def measure(page: Page, size: int) -> list[tuple]:
    """Return the rows of one size."""
    label = f"{size} x {size}"
    rows = [toggles(page, f"{label}, 3 or 4 labels, toggle aorta", "label-aorta")]
    rows.append(toggles(page, f"{label}, 3 or 4 labels, toggle lung_overall", "label-lung_overall"))
    page.locator('[data-testid="all"]').click()
    rows.append(
        toggles(page, f"{label}, all 166 labels, toggle lung_overall", "label-lung_overall")
    )
    rows.append(toggles(page, f"{label}, all 109 rib labels at once", "group-ribs"))
    run_cell(page, 1)
    page.get_by_text("busy", exact=True).wait_for()
    rows.append(
        toggles(page, f"{label}, all 166 labels, toggle heart while a cell runs", "label-heart")
    )
    return rows


def measure_all(browser: Browser, address: str, size: int) -> tuple[float, list, list, list]:
    """Return the first display of one size in ms, and its rows of all three tables."""
    page = open_viewer(browser, address, f"{size}")
    first = float(page.locator(VIEWER).get_attribute("data-first-ms"))
    rows = measure(page, size)
    page.close()
    page = open_viewer(browser, address, f"desk{size}")
    drawn = strokes(page, size)
    page.close()
    page = open_viewer(browser, address, f"heat{size}")
    heated = heat(page, size)
    page.locator('[data-testid="mode-beside"]').click()
    twice = f"{size} x {size}, 3 or 4 labels side by side, toggle lung_overall"
    rows.append(toggles(page, twice, "label-lung_overall"))
    page.close()
    return first, rows, drawn, heated


def tables(rows: list[tuple], drawn: list[tuple], heated: list[tuple]) -> str:
    """Return the tables of toggles, of strokes and of the heat map."""
    times = ["to repaint, median ms", "90th percentile ms"]
    toggled = table(["toggle", "work, median ms", *times], rows)
    painted = table(["sample of a stroke", "work, median ms", "90th percentile ms", *times], drawn)
    shown = table(["heat map", "work, median ms", "90th percentile ms", *times], heated)
    return f"## LabelViewer in JupyterLab, headless Chromium\n\n{toggled}\n\n{painted}\n\n{shown}"


def main() -> None:
    """Measure both sizes and report."""
    chromium = os.environ.get("PAXRAY_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        sys.exit("no Chromium: install Debian's package chromium, or set PAXRAY_CHROMIUM")
    rows, drawn, heated, firsts = [], [], [], {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        payload = write_inputs(Path(name))
        server, address = start_lab(Path(name))
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            for size in SIZES:
                firsts[size], *found = measure_all(browser, address, size)
                for table_rows, new in zip((rows, drawn, heated), found, strict=True):
                    table_rows += new
            browser.close()
        finally:
            server.terminate()
            server.wait(20)
    text = tables(rows, drawn, heated)
    for size in SIZES:
        text += f"\n\n{size} x {size}: {payload[size] / 1000:.0f} kB travel for image and masks; "
        text += f"first display {firsts[size]:.0f} ms after they arrive."
    text += f"\n\nMedians of {REPEATS}. " + conditions("anywidget", "jupyterlab", "playwright")
    print(text)
    if "--update" in sys.argv:
        update("viewer", text)


if __name__ == "__main__":
    main()
