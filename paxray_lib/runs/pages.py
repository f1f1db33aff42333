"""Pages of runs and sweeps: templates filled with values; every value is escaped.

A page is one file: styles and pictures inside, links relative to its folder, nothing from a
network.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from paxray_lib.utils import duration, naming_errors, now, read_bytes, read_table

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, *, folder: Path = TEMPLATES, **values: Any) -> str:
    """Return the page that a template of a folder, or of `TEMPLATES`, makes of some values."""
    loader = jinja2.FileSystemLoader([folder, TEMPLATES])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "data_uri": lambda data, kind: f"data:{kind};base64,{base64.b64encode(data).decode()}",
        "duration": duration,
        "href": lambda path: quote(os.fsencode(path)),  # names of files may not be UTF-8
        "size": size,
        "words": words,
    }
    written = now().replace("T", " ").replace("+00:00", " UTC")
    return environment.get_template(template).render(values, written=written)


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


def read_part(path: Path, reader: Callable[[Path], Any], troubles: list[str]) -> Any:
    """Return what `reader` reads, None if there is nothing; what is damaged goes to `troubles`."""
    if not path.exists():
        return None
    try:
        return reader(path)
    except (ValueError, OSError) as error:
        text = str(error)
        troubles.append(text if str(path) in text else f"{path}: {text}")
        return None


def read_metrics(path: Path) -> pd.DataFrame:
    """Read metrics.csv of a training; ValueError if it has other columns, or no numbers."""
    table = read_table(path)
    with naming_errors(path, "no table of epochs"):
        scores = table[["train_loss", "val_iou_present"]].astype(float)
        return table.assign(epoch=table["epoch"].astype(int), **scores)


def read_environment(run_dir: Path) -> dict[str, str]:
    """Return time, platform, git, data, ... of environment.txt, if any; the latest if resumed."""
    path = run_dir / "environment.txt"
    lines = read_bytes(path).decode(errors="replace").splitlines() if path.is_file() else []
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {key.removesuffix(", made by this run"): value for key, value in pairs}
