"""A contact sheet of a prediction: twenty films on a page of A4, as PDF, to send to a colleague."""

import io
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from paxray_lib.labels import LabelSet
from paxray_lib.prediction.pipeline import SHEET, readable
from paxray_lib.prediction.predict import read_settings
from paxray_lib.results.overlays import Picture, chosen_labels
from paxray_lib.results.page import films_of
from paxray_lib.utils import atomic_write, printable
from paxray_lib.viz.compose import label_entries, legend_page

# sizes in pixels at 150 dpi, colours RGB; chosen by eye
_DPI, _PAGE, _MARGIN, _HEAD = 150, (1240, 1754), 50, 40
_COLUMNS, _CELL, _PICTURE, _LINE, _FONT_SIZE, _QUALITY = 4, (285, 310), (265, 225), 19, 15, 88
_PAPER, _INK, _WARNING = (255, 255, 255), (32, 32, 32), (176, 0, 32)
_SHORT = {"CTR": "Cardio\u00adthoracic ratio", "heart": "Heart width", "thorax": "Thorax width"}


def write_sheet(
    out: str | os.PathLike,
    report: pd.DataFrame,
    measured: pd.DataFrame,
    pictures: Mapping[str, Picture],
    names: list[str] | None = None,
) -> Path:
    """Write `sheet.pdf` into the folder of a prediction; return its path.

    Each film has its picture, name, view, cardiothoracic ratio, doubt, widths of heart and thorax,
    and, in red, its flags or else a note. The font has ASCII alone: letters with accents are there
    without them, others are boxes. Parameters and order are those of `results.page.write_page`.
    """
    out = Path(out)
    labels = LabelSet(read_settings(out)["labels"])
    films = films_of(report, measured, pictures)
    legend = _legend(labels, chosen_labels(labels, names))
    rows = max(1, (_PAGE[1] - 2 * _MARGIN - _HEAD - legend.height) // _CELL[1])
    count = _COLUMNS * rows
    parts = [films[start : start + count] for start in range(0, len(films), count)] or [[]]
    failed = int((report["status"] == "failed").sum())
    name = readable(Path(out.resolve().name))
    done = int((report["output"].fillna("") != "").sum())
    first = f", the first {len(films)} here" if len(films) < done else ""
    about = f"{name}: {done} films with masks{first}, {failed} failed; for research"
    with atomic_write(out / SHEET) as temporary:
        for number, part in enumerate(parts, 1):
            page = _page(f"{about}; page {number} of {len(parts)}", part, legend)
            options = {"quality": _QUALITY, "subsampling": 0}  # which would blur outlines
            is_more = number > 1
            page.save(temporary, "PDF", title=about, resolution=_DPI, append=is_more, **options)
    return out / SHEET


def _legend(labels: LabelSet, indices: list[int]) -> Image.Image:
    """Return the names of the structures, as few lines as fit the width of a page."""
    entries, height = label_entries(labels, indices), 0
    while True:
        legend = legend_page(entries, height)
        if legend.shape[1] <= _PAGE[0] - 2 * _MARGIN or height > _PAGE[1]:
            return Image.fromarray(legend)
        height = len(legend) + _LINE


def _page(title: str, films: list[dict[str, Any]], legend: Image.Image) -> Image.Image:
    page = Image.new("RGB", _PAGE, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    draw.text((_MARGIN, _MARGIN), _fitted(title, _PAGE[0] - 2 * _MARGIN, font), _INK, font)
    for place, film in enumerate(films):
        row, column = divmod(place, _COLUMNS)
        left, top = _MARGIN + column * _CELL[0], _MARGIN + _HEAD + row * _CELL[1]
        if film["picture"].thumbnail:
            with Image.open(io.BytesIO(film["picture"].thumbnail)) as picture:
                picture.thumbnail(_PICTURE)
                page.paste(picture, (left, top))
        for line, (text, color) in enumerate(_lines(film)):
            place_of_line = (left, top + _PICTURE[1] + 2 + line * _LINE)
            draw.text(place_of_line, _fitted(text, _PICTURE[0], font), color, font)
    page.paste(legend, (_MARGIN, _PAGE[1] - _MARGIN - legend.height))
    return page


def _lines(film: Mapping[str, Any]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines below a picture, with their colours: four at most."""
    values = {short: film["cells"][title] for short, title in _SHORT.items()}
    numbers = [f"{short} {value}" for short, value in values.items() if value]
    numbers = [number.replace("\u00a0", " ") for number in numbers]  # which the font lacks
    doubt = "" if film["doubt"] is None else f"doubt {film['doubt']:.2f}"
    lines = [
        (film["name"], _INK),
        (", ".join(filter(None, [film["view"], *numbers[:1], doubt])), _INK),
        (", ".join(numbers[1:]), _INK),
        (film["flags"] or (film["notes"] or [""])[0], _WARNING),
    ]
    return [(text, color) for text, color in lines if text]


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a text as one line that fits into so many pixels: its middle may be left out."""
    shown, kept = _in_one_line(text), len(text)
    while font.getlength(shown) > width:
        kept -= 1
        shown = _in_one_line(f"{text[: kept // 2]}...{text[len(text) - kept // 2 :]}")
    return shown


def _in_one_line(text: str) -> str:
    return _without_accents(printable(text).replace("\n", "\\n"))


def _without_accents(text: str) -> str:
    """Return a text with the plain letter for one with an accent, if that is ASCII."""
    letters = unicodedata.normalize("NFC", text)  # two characters in names that macOS wrote
    plain = [(letter, unicodedata.normalize("NFD", letter)[0]) for letter in letters]
    return "".join(base if base.isascii() else letter for letter, base in plain)
