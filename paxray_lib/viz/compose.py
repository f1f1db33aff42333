"""Panels of a picture: a legend that never overlaps the image, titles, and panels side by side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP = 4  # pixels, as all sizes here
_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (128, 128, 128)
_FONT_SIZE, _LINE, _SWATCH = 13, 19, 12


def legend_page(entries: Sequence[tuple[str, tuple[int, ...]]], height: int) -> Image.Image:
    """Draw names with swatches in as many columns as a page of at least `height` pixels needs."""
    height = max(height, 480 if len(entries) > 24 else 0, 2 * _GAP + _LINE)
    rows = (height - 2 * _GAP) // _LINE
    columns = [entries[k : k + rows] for k in range(0, len(entries), rows)]
    font = ImageFont.load_default(_FONT_SIZE)
    widths = [
        int(max(font.getlength(name) for name, _ in column)) + _SWATCH + 4 * _GAP
        for column in columns
    ]
    page = Image.new("RGB", (max(1, sum(widths)), height), _PAPER)
    draw, x = ImageDraw.Draw(page), _GAP
    for column, width in zip(columns, widths, strict=True):
        for k, (name, color) in enumerate(column):
            y = _GAP + k * _LINE + (_LINE - _SWATCH) // 2
            draw.rectangle((x, y, x + _SWATCH - 1, y + _SWATCH - 1), fill=color, outline=_FRAME)
            draw.text(
                (x + _SWATCH + _GAP, y + _SWATCH // 2), name, fill=_INK, font=font, anchor="lm"
            )
        x += width
    return page


def titled(pixels: np.ndarray, title: str) -> Image.Image:
    """Put a centred title above (H, W, 3) uint8 pixels."""
    page = Image.new("RGB", (pixels.shape[1], pixels.shape[0] + _LINE), _PAPER)
    page.paste(Image.fromarray(pixels), (0, _LINE))
    font = ImageFont.load_default(_FONT_SIZE)
    ImageDraw.Draw(page).text(
        (page.width // 2, _LINE // 2), title, fill=_INK, font=font, anchor="mm"
    )
    return page


def beside(panels: Sequence[Image.Image]) -> Image.Image:
    """Put panels side by side, tops aligned; a single panel comes back as it is."""
    if len(panels) == 1:
        return panels[0]
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) - 1)
    page, x = Image.new("RGB", (width, max(panel.height for panel in panels)), _PAPER), 0
    for panel in panels:
        page.paste(panel, (x, 0))
        x += panel.width + _GAP
    return page
