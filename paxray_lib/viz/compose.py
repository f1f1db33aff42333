"""Images put together: side by side, with titles, and a legend that never hides the image."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from paxray_lib.labels.table import LabelSet

# sizes in pixels, colours RGB; all chosen by eye
_GAP, _LINE, _SWATCH, _FONT_SIZE = 4, 19, 12, 13
_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (128, 128, 128)
_TALL_PAGE = 480  # a legend of many labels is at least as high, so that it does not become wide
_MANY = 24  # labels


def label_entries(labels: LabelSet, indices: Iterable[int]) -> dict[str, tuple[int, int, int]]:
    """Return the entries of a legend: the colour of each label by its display name."""
    return {labels.display_names[i]: tuple(labels.colors[i].tolist()) for i in indices}


def legend_page(entries: Mapping[str, tuple[int, int, int]], height: int) -> np.ndarray:
    """Draw names with swatches, in as many columns as a page of at least `height` pixels needs."""
    height = max(height, _TALL_PAGE if len(entries) > _MANY else 0, 2 * _GAP + _LINE)
    rows = (height - 2 * _GAP) // _LINE
    names, font = list(entries), ImageFont.load_default(_FONT_SIZE)
    columns = [names[start : start + rows] for start in range(0, len(names), rows)]
    widths = [int(max(map(font.getlength, column))) + _SWATCH + 4 * _GAP for column in columns]
    page = Image.new("RGB", (max(1, sum(widths)), height), _PAPER)
    draw, left = ImageDraw.Draw(page), _GAP
    for column, width in zip(columns, widths, strict=True):
        for row, name in enumerate(column):
            top = _GAP + row * _LINE + (_LINE - _SWATCH) // 2
            box = (left, top, left + _SWATCH - 1, top + _SWATCH - 1)
            draw.rectangle(box, fill=entries[name], outline=_FRAME)
            middle = (left + _SWATCH + _GAP, top + _SWATCH // 2)
            draw.text(middle, name, fill=_INK, font=font, anchor="lm")
        left += width
    return np.asarray(page)


def titled(pixels: np.ndarray, title: str) -> np.ndarray:
    """Put a centred title above (H, W, 3) uint8 pixels."""
    page = Image.new("RGB", (pixels.shape[1], _LINE), _PAPER)
    middle, font = (page.width // 2, _LINE // 2), ImageFont.load_default(_FONT_SIZE)
    ImageDraw.Draw(page).text(middle, title, fill=_INK, font=font, anchor="mm")
    return np.vstack([np.asarray(page), pixels])


def side_by_side(parts: Sequence[np.ndarray]) -> Image.Image:
    """Put (H, W, 3) uint8 pixels of any sizes in a row, tops aligned."""
    height = max(len(part) for part in parts)
    padded = [
        np.pad(part, ((0, height - len(part)), (0, _GAP), (0, 0)), constant_values=255)
        for part in parts
    ]
    return Image.fromarray(np.hstack(padded)[:, :-_GAP])
