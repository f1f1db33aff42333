"""Pages of runs and sweeps: templates filled with values; every value is escaped.

A page is one file: styles and pictures inside, links relative to its folder, nothing from a
network.
"""

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from paxray_lib.utils import duration, now

TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """Return the page that a template of `TEMPLATES` makes of some values."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
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


def read_environment(run_dir: Path) -> dict[str, str]:
    """Return time, platform, git, data, ... of environment.txt, if any; the latest if resumed."""
    path = run_dir / "environment.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {key.removesuffix(", made by this run"): value for key, value in pairs}
