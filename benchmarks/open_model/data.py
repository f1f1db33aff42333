"""The real films that the open model is trained on and scored on, in the PAXRay layout:
``python benchmarks/open_model/data.py --wingspan DIR --v7 DIR [--out data]``.

- wingspan/: 259 films with masks of lungs and heart, the splits of its split.csv
  (eveningdong/cardiothoracic_ratio_estimation_dataset, MIT).
- v7/: 43 films with masks of the lungs, the splits of v7_split.csv beside this script
  (v7labs/covid-19-xray-dataset, masks CC BY 4.0, images CC BY 3.0 and 4.0 by its table.csv).
  A film with pixels to ignore (127) has no known label: that is one of the 43.

A set that is not given is left out. All films are frontal, which their names do not say.
``--split`` writes v7_split.csv again, from table.csv.
"""

import argparse
import csv
import random
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from paxray_lib.data.datafile import read_datafile, write_datafile
from paxray_lib.importing.common import import_dataset
from paxray_lib.importing.mask_folders import mask_folders

V7_SPLIT = Path(__file__).with_name("v7_split.csv")
SEED = 15
SCORED = 8
EXAMPLES = ("226", "229", "233", "242")
"""Patients of which there are other films that may become examples: to be trained on by nobody.
The image repository's own table says so: its patients 189daebe, 23032572, 327d82ca, 6a66932a."""


def split_patients(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return "train" or "test" of each patient of v7's table.

    Eight are scored: those of `EXAMPLES`, and of those with a film taken in bed as many as are
    missing, drawn with a fixed seed.
    """
    views: dict[str, set[str]] = {}
    for row in rows:
        views.setdefault(row["patient"], set()).add(row["view"])
    in_bed = sorted(p for p in views if "AP Supine" in views[p] and p not in EXAMPLES)
    drawn = random.Random(SEED).sample(in_bed, SCORED - len(EXAMPLES))
    return {p: "test" if p in EXAMPLES or p in drawn else "train" for p in views}


def write_split(table: Path, out: Path = V7_SPLIT) -> None:
    """Write the split of each film of v7's table."""
    rows = read_rows(table)
    split = split_patients(rows)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "patient", "split"])
        writer.writerows([r["id"], r["patient"], split[r["patient"]]] for r in rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of ours."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def import_films(
    folder: Path,
    masks: Mapping[str, str],
    out: Path,
    *,
    splits: Path,
    ignore: int | None = None,
    patients: Mapping[str, str] | None = None,
) -> int:
    """Import a folder of films, say that they are frontal and whose they are; return failures."""
    source = mask_folders(
        folder / "images", [(name, folder / part) for name, part in masks.items()], ignore
    )
    done = import_dataset(source, out, splits=splits)
    data = read_datafile(out)
    whose = patients or {}
    entries = {
        split: [replace(e, view="frontal", case=whose.get(e.case, e.case)) for e in part]
        for split, part in data.splits.items()
    }
    write_datafile(done.path, data.labels, entries)
    sizes = ", ".join(f"{split} {len(part)}" for split, part in entries.items())
    print(*done.failed, *done.notes, f"{done.path}: {sizes}", sep="\n")
    return done.counts["failed"]


def main() -> int:
    """Make the data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wingspan", type=Path, help="images, left_lung, right_lung, heart")
    parser.add_argument("--v7", type=Path, help="images, lungs, table.csv")
    parser.add_argument("--out", type=Path, default=Path("data"))
    parser.add_argument("--split", action="store_true", help="write v7_split.csv again")
    options = parser.parse_args()
    failed = 0
    if options.split and options.v7:
        write_split(options.v7 / "table.csv")
    if options.wingspan:
        failed += import_films(
            options.wingspan,
            {name: name for name in ("left_lung", "right_lung", "heart")},
            options.out / "wingspan",
            splits=options.wingspan / "split.csv",
        )
    if options.v7:
        failed += import_films(
            options.v7,
            {"lungs": "lungs"},
            options.out / "v7",
            splits=V7_SPLIT,
            ignore=127,
            patients={row["id"]: row["patient"] for row in read_rows(V7_SPLIT)},
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
