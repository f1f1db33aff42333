"""Many films in one prediction, and what 377,110 of them, as MIMIC-CXR has, would take: ``python
benchmarks/many_films.py [--films FOLDER] [--count N] [--update]``.

The films are those of a folder, copied under new names until there are enough (by default generated
ones, which are smaller than real ones). Parts of the command that see all films at once (plan,
report, manifest) are measured with 20,000 and 100,000 names and no film, for whether they grow
faster than the number of films."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from _report import conditions, table, update

MIMIC = 377_110
OF_COCO = 10


def make_films(folder: Path, source: Path | None, count: int) -> list[Path]:
    """Write `count` films by copying those of a folder, or generated ones."""
    if source:
        from paxray_lib.images.files import find_images

        originals = find_images(source)
    else:
        import predict

        predict.make_images(folder / "originals", 20, 512)
        originals = sorted((folder / "originals").iterdir())
    films = []
    for number in range(count):
        original = originals[number % len(originals)]
        films.append(folder / "films" / f"{number // 1000:03d}" / f"{number:06d}{original.suffix}")
        films[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(original, films[-1])
    return films


def predict_films(films: Path, out: Path, *options: str) -> dict:
    """Run the command; return its seconds by the clock and of processors, and its peak memory."""
    command = [sys.executable, "-m", "paxray_lib", "predict", "--images", films, "--out", out]
    start = time.monotonic()
    process = subprocess.Popen([*map(str, command), *options], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"paxray predict ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.monotonic() - start
    return {
        "wall": seconds,
        "processor": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
    }


def bytes_of(folder: Path, suffix: str) -> int:
    """Return the size of the masks in a folder of predictions."""
    return sum(path.stat().st_size for path in folder.rglob(f"[!.]*{suffix}"))


def bytes_as_coco(films: list[Path], folder: Path) -> float:
    """Return what the masks of a film take as COCO, on some films."""
    listed = folder / "some.txt"
    some = films[:: max(1, len(films) // OF_COCO)][:OF_COCO]
    listed.write_text("".join(f"{film}\n" for film in some))
    predict_films(listed, folder / "coco", "--format", "coco")
    made = pd.read_csv(folder / "coco/report.csv")["output"].dropna()
    return sum((folder / "coco" / name).stat().st_size for name in made) / len(made)


def time_of_parts(count: int, folder: Path) -> list[float]:
    """Return processor seconds of planning, opening the folder and one report of so many films."""
    from paxray_lib.prediction import predict as module
    from paxray_lib.prediction.pipeline import REPORT
    from paxray_lib.utils import write_table
    from paxray_lib.utils.manifest import Manifest

    paths = [Path(f"/films/p{i % 10}/p{i % 65_000}/s{i // 2}/{i:08x}.jpg") for i in range(count)]
    seconds = []

    def timed(work):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
        return result

    outputs = timed(lambda: module._plan(paths, folder, ".pxm"))
    settings = {"probabilities": None}
    timed(lambda: module._open_manifest(folder, outputs, settings, False).close())

    def record():
        with Manifest(folder) as manifest:
            for path, output in outputs.items():
                manifest.start(output, path, [1, 2, 3, "0" * 32], {"view": "frontal"})

    timed(record)
    timed(lambda: Manifest(folder).close())
    rows = [(str(path), "ok", "", output, 2500, 3000) for path, output in outputs.items()]
    names = ["file", "status", "reason", "output", "height", "width"]
    timed(lambda: write_table(folder / REPORT, pd.DataFrame(rows, columns=names)))
    return seconds


def report(options: argparse.Namespace, folder: Path) -> str:
    """Return the section of RESULTS.md."""
    films = make_films(folder, options.films, options.count)
    taken = predict_films(folder / "films", folder / "out", "--measure")
    done = pd.read_csv(folder / "out/report.csv")
    good = int((done["status"] == "ok").sum())
    pixels = (done["height"] * done["width"]).mean()
    size = {
        "packed": bytes_of(folder / "out", ".pxm") / good,
        "coco": bytes_as_coco(films, folder),
        "npy": 166 * pixels,  # a byte for each
    }
    beside = sum(path.stat().st_size for path in (folder / "out").iterdir() if path.is_file())
    head = ["", f"{good} films, measured", "a film", f"{MIMIC:,} films, extrapolated"]
    amounts = [
        ("time by the clock", "h", taken["wall"] / 3600),
        ("time of one core", "h", taken["processor"] / 3600),
        *((f"masks as {name}", "GB", bytes_ * good / 1e9) for name, bytes_ in size.items()),
        ("tables and manifest", "GB", beside / 1e9),
    ]
    units = {"h": (3600, "s"), "GB": (1e6, "kB")}
    lines = []
    for name, unit, value in amounts:
        factor, small = units[unit]
        each = f"{value / good * factor:.2f} {small}"
        lines.append([name, f"{value:.3g} {unit}", each, f"{value / good * MIMIC:,.0f} {unit}"])
    parts = ["plan", "open", "record all", "open again", "one report"]
    counts = (20_000, 100_000)
    times = [time_of_parts(count, folder / f"parts{count}") for count in counts]
    grown = [
        [name, f"{a:.2f}", f"{b:.2f}", f"{b / a:.1f}"]
        for name, a, b in zip(parts, *times, strict=True)
    ]
    return (
        f"## Many films\n\n`paxray predict --measure` of {good} films of "
        f"{pixels / 1e6:.1f} megapixels on average, {len(done) - good} more failed; peak of memory "
        f"{taken['peak'] / 2**30:.1f} GiB. COCO is of {OF_COCO} of them, npy "
        f"computed.\n\n{table(head, lines)}\n\nProcessor seconds of what sees all "
        f"names at once:\n\n"
        f"{table(['', *(f'{count:,} films' for count in counts), 'ratio'], grown)}\n\n"
        f"{conditions('onnxruntime', 'numpy')}"
    )


def main() -> None:
    """Measure, print, and update RESULTS.md if told to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=Path, help="folder with films to copy")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = report(options, Path(folder))
    print(text)
    if options.update:
        update("many_films", text)


if __name__ == "__main__":
    main()
