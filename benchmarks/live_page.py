"""The page that segments by itself: ``python benchmarks/live_page.py RUNTIME.tgz [FILM ...]``.

It is written, opened from disk in headless Chromium, and gets the films one by one, by default the
example films. Seconds are those until the page is ready, and from the choice of a film to its masks
on the screen; behind them the seconds of the processor that Chromium took for it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

from paxray_lib.images.files import find_images
from paxray_lib.sharing.live import export_live

EXAMPLES = Path(__file__).parents[1] / "data" / "examples"
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", type=Path)
    parser.add_argument("films", nargs="*", type=Path, default=find_images(EXAMPLES))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "live.html")
        print(f"{export_live(args.runtime, path) / 1e6:.1f} MB, load {os.getloadavg()[0]:.1f}")
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.set_default_timeout(120_000)

        def ready() -> None:
            page.goto(path.as_uri())
            page.locator("body[data-ready]").wait_for()

        print(f"ready: {timed(ready)}")
        for number, film in enumerate(args.films, 1):

            def drop(film: Path = film, number: int = number) -> None:
                page.set_input_files("#choose", film)
                page.locator(f'#films[data-films="{number}"]').wait_for()
                page.locator(f'[aria-label^="{film.name}"] canvas').wait_for()

            print(f"{film.name}: {timed(drop)}")


def timed(action: Callable[[], None]) -> str:
    start, before = time.perf_counter(), processor()
    action()
    return f"{time.perf_counter() - start:.1f} s, {processor() - before:.1f} s of the processor"


def processor() -> float:
    """Return the seconds of all processes below this one, those of Chromium."""
    stats = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        stats[int(path.parent.name)] = (int(values[1]), (int(values[11]) + int(values[12])) / TICKS)
    found, total = {os.getpid()}, 0.0
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
        total += sum(stats[pid][1] for pid in more)
    return total


if __name__ == "__main__":
    main()
