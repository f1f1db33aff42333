"""Overlays: an image and its masks as RGB pixels, by integer rules that `viewer.js` repeats
exactly.

All numbers are integers, `//` rounds down, a pixel is computed from itself and its neighbours
alone, and the order of the labels never matters.

1. Base. An 8-bit gray `g` is shown through the window (low, high), 0 <= low < high <= 255: 0 up to
   low, 255 from high on, and ((g - low) * 255 + (high - low) // 2) // (high - low) between. (0,
   255) changes nothing. Each channel of a colour image goes the same way.
2. Mean colour of n >= 1 labels, for each channel: (sum of the n values + n // 2) // n.
3. Fill. Where n >= 1 selected labels lie, with c their mean colour and a the opacity 0..255, each
   channel becomes (base * (255 - a) + c * a + 127) // 255. Other pixels keep their base: nothing is
   darkened.
4. Outline. The inner boundary of a label, w pixels wide, is what w erosions by the plus-shaped
   neighbourhood (up, down, left, right) take away; outside the image nothing is marked, so that
   outlines close at its border. Where n >= 1 boundaries lie, the pixel becomes their mean colour
   (rule 2), opaque, whatever the fill. A dashed outline leaves out the pixels with (x + 2 * y) // 4
   odd, x the column and y the row.
5. Difference. At a pixel each selected label that is in both stacks counts as the colour
   TRUE_POSITIVE, in the prediction only as FALSE_POSITIVE, in the target only as FALSE_NEGATIVE;
   then rules 2 and 3.

The colours are those of the label table, one for fill and outline; those of rule 5 can be told
apart in the common kinds of colour blindness (Okabe and Ito, 2008)."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image as PilImage

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.coerce import as_masks, as_pixels, check_size
from paxray_lib.viz.compose import beside, legend_page, titled

ALPHA = 96
"""Default opacity of fills, 0..255."""
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = (0, 158, 115), (230, 159, 0), (86, 180, 233)
MODES = ("target", "prediction", "both", "difference")

_DASH = 4  # pixels
# one 64-bit word a pixel: the number of labels and their three colour sums
_COUNT_BITS, _SUM_BITS = 10, 18
_MAX_LABELS = (1 << _COUNT_BITS) - 1
_CHANNELS = [_COUNT_BITS + _SUM_BITS * k for k in range(3)]  # shift of each sum


# -- pixels


def render(
    image: np.ndarray,
    masks: PackedMasks,
    indices: Iterable[int] | None = None,
    *,
    alpha: int = ALPHA,
    outline: int = 1,
    dashed: bool = False,
    window: tuple[int, int] = (0, 255),
) -> np.ndarray:
    """Draw the selected labels over an image by the rules above.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8 array
    masks : PackedMasks of shape (L, H, W)
    indices : iterable of int, optional
        The labels to draw; all without it.
    alpha : int
        Opacity of the fill, 0 (none) to 255.
    outline : int
        Width of the outlines in pixels, 0 for none.
    dashed : bool
        Draw the outlines dashed.
    window : (low, high)
        Gray values shown as black and as white.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    ValueError
        If image and masks differ in size, or a number is outside its range.
    """
    canvas = _canvas(image, masks, window)
    planes, tables = _selected(masks, indices)
    _paint(canvas, _accumulate(planes, tables), _checked("alpha", alpha, 0, 255))
    _draw_outlines(canvas, planes, tables, outline, dashed)
    return canvas


def compare(
    image: np.ndarray,
    target: PackedMasks,
    prediction: PackedMasks,
    indices: Iterable[int] | None = None,
    *,
    mode: str = "difference",
    alpha: int = ALPHA,
    outline: int = 1,
    dashed: bool = False,
    window: tuple[int, int] = (0, 255),
) -> np.ndarray:
    """Draw a target and a prediction over one image.

    Parameters
    ----------
    image, indices, alpha, outline, dashed, window
        As for `render`.
    target, prediction : PackedMasks of the same labels and size
    mode : {"difference", "both", "target", "prediction"}
        "difference" is rule 5, without outlines; "both" fills the target and outlines the
        prediction (at least one pixel wide); the others are `render` of one stack.

    Returns
    -------
    (H, W, 3) uint8 array
    """
    _check_pair(target, prediction)
    style = {"alpha": alpha, "outline": outline, "dashed": dashed, "window": window}
    if mode in ("target", "prediction"):
        return render(image, target if mode == "target" else prediction, indices, **style)
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is none of {', '.join(MODES)}")
    canvas = _canvas(image, target, window)
    (truth, tables), (found, _) = _selected(target, indices), _selected(prediction, indices)
    if mode == "both":
        _paint(canvas, _accumulate(truth, tables), _checked("alpha", alpha, 0, 255))
        _draw_outlines(canvas, found, tables, max(1, outline), dashed)
    else:
        _paint(canvas, _difference(truth, found), _checked("alpha", alpha, 0, 255))
    return canvas


def _difference(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    parts = (
        (truth & found, TRUE_POSITIVE),
        (found & ~truth, FALSE_POSITIVE),
        (truth & ~found, FALSE_NEGATIVE),
    )
    return sum(
        _accumulate(bits, [_table(np.tile(color, (8, 1)))] * len(bits)) for bits, color in parts
    )


def _canvas(image: np.ndarray, masks: PackedMasks, window: tuple[int, int]) -> np.ndarray:
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] != 3)
    ):
        raise ValueError(
            f"image must be (H, W) or (H, W, 3) uint8, got {image.shape} {image.dtype}"
        )
    check_size(image, masks)
    shown = window_table(*window)[image]
    return np.repeat(shown[..., None], 3, axis=2) if image.ndim == 2 else shown


def window_table(low: int, high: int) -> np.ndarray:
    """Return the (256,) uint8 table of rule 1.

    >>> window_table(50, 60)[[49, 51, 55, 60]].tolist()
    [0, 26, 128, 255]
    """
    if not 0 <= low < high <= 255:
        raise ValueError(f"window ({low}, {high}): 0 <= low < high <= 255 is needed")
    inside = np.clip(np.arange(256) - low, 0, high - low)
    return ((inside * 255 + (high - low) // 2) // (high - low)).astype(np.uint8)


def _selected(
    masks: PackedMasks, indices: Iterable[int] | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return (b, H, W) uint8 planes of the bytes with selected labels, other bits cleared, and
    their colour tables.
    """
    count = len(masks.labels)
    indices = sorted(set(range(count) if indices is None else map(int, indices)))
    if indices and not 0 <= indices[0] <= indices[-1] < count:
        raise ValueError(
            f"label indices {indices[0]}..{indices[-1]} leave the range 0..{count - 1} of these masks"
        )
    if len(indices) > _MAX_LABELS:
        raise ValueError(
            f"{len(indices)} labels selected, but at most {_MAX_LABELS} can be drawn at once"
        )
    columns = sorted({i // 8 for i in indices})
    planes = np.empty((len(columns), *masks.data.shape[:2]), np.uint8)
    tables = []
    for plane, column in zip(planes, columns, strict=True):
        bits = [i for i in indices if i // 8 == column]
        np.bitwise_and(masks.data[..., column], np.uint8(sum(1 << i % 8 for i in bits)), out=plane)
        colors = np.zeros((8, 3), np.int64)
        colors[[i % 8 for i in bits]] = masks.labels.colors[bits]
        tables.append(_table(colors))
    return planes, tables


def _table(colors: np.ndarray) -> np.ndarray:
    """Return the (256,) uint64 word of every byte: count and colour sums of its labels, whose
    colours are (8, 3).
    """
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(
        np.uint64
    )
    words = 1 + sum(
        colors[:, k].astype(np.uint64) << np.uint64(shift) for k, shift in enumerate(_CHANNELS)
    )
    return bits @ words


def _accumulate(planes: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """Return the (H, W) uint64 words of all labels together."""
    words = np.zeros(planes.shape[1:], np.uint64)
    for plane, table in zip(planes, tables, strict=True):
        # clip: a byte is always in range, and this spares the check
        words += table.take(plane, mode="clip")
    return words


def _paint(canvas: np.ndarray, words: np.ndarray, alpha: int) -> None:
    """Blend the mean colours of `words` into the (H, W, 3) canvas with opacity `alpha`: rules 2 and
    3.
    """
    marked = np.flatnonzero(words)
    if not len(marked) or not alpha:
        return
    words = words.ravel()[marked]
    count = (words & np.uint64(_MAX_LABELS)).astype(np.float32)
    pixels = canvas.reshape(-1, 3)
    colors = np.empty((len(marked), 3), np.uint16)
    for k, shift in enumerate(_CHANNELS):
        total = (words >> np.uint64(shift)).astype(np.uint32) & np.uint32((1 << _SUM_BITS) - 1)
        # exact in float32, and faster than integer division: a quotient below an integer stays
        # 1/1023 below it
        colors[:, k] = (total.astype(np.float32) + np.floor(count * np.float32(0.5))) / count
    if alpha < 255:
        colors *= np.uint16(alpha)
        colors += pixels[marked] * np.uint16(255 - alpha) + np.uint16(127)  # at most 65152
        colors = (colors + np.uint16(1) + (colors >> 8)) >> 8  # colors // 255, exact below 65535
    pixels[marked] = colors


def _draw_outlines(
    canvas: np.ndarray, planes: np.ndarray, tables: Sequence[np.ndarray], width: int, dashed: bool
) -> None:
    if not _checked("outline", width, 0, 64) or not len(planes):
        return
    words = _accumulate(_boundary(planes, width), tables)
    if dashed:
        y, x = np.ogrid[: words.shape[0], : words.shape[1]]
        words[(x + 2 * y) // _DASH % 2 == 1] = 0
    _paint(canvas, words, 255)


def _boundary(planes: np.ndarray, width: int) -> np.ndarray:
    """Return the inner boundaries of all labels in (b, H, W) packed planes at once: rule 4."""
    core = planes
    for _ in range(width):
        inner = np.zeros_like(core)
        middle = inner[:, 1:-1, 1:-1]
        np.bitwise_and(core[:, :-2, 1:-1], core[:, 2:, 1:-1], out=middle)
        for neighbour in (core[:, 1:-1, :-2], core[:, 1:-1, 2:], core[:, 1:-1, 1:-1]):
            middle &= neighbour
        core = inner
    return planes & ~core


def _checked(name: str, value: int, low: int, high: int) -> int:
    if value != int(value) or not low <= value <= high:
        raise ValueError(f"{name} {value!r}: an integer from {low} to {high} is needed")
    return int(value)


def _check_pair(target: PackedMasks, prediction: PackedMasks) -> None:
    if target.labels != prediction.labels:
        raise ValueError(
            f"target and prediction have different labels: {target.labels} and {prediction.labels}"
        )
    if target.shape != prediction.shape:
        raise ValueError(
            f"target and prediction differ in size: {target.shape[1:]} and {prediction.shape[1:]}"
        )


# -- pictures


def visualize_certain_labels(
    names: str | Iterable[str],
    image,
    masks,
    *,
    labels: LabelSet | None = None,
    concat: bool = False,
    legend: bool = False,
    **style,
) -> PilImage.Image:
    """Draw certain labels over an image.

    Parameters
    ----------
    names : str or iterable of str
        Names, groups and patterns, as in `LabelSet.select`.
    image, masks
        Whatever `as_pixels` and `as_masks` take: paths, arrays, PackedMasks, ...
    labels : LabelSet, optional
        The labels of `masks`, if they are an array or a file of others than the 166 published.
    concat : bool
        Put the plain image to the left of the overlay.
    legend : bool
        Put the drawn names with their colours to the right.
    **style
        alpha, outline, dashed and window, as for `render`.

    Returns
    -------
    PIL.Image.Image
        RGB, of the image's own size without `concat` and `legend`.

    Raises
    ------
    ValueError
        For an unknown name (near matches are listed), and if sizes or numbers do not fit.
    """
    masks = as_masks(masks, labels)
    return _picture(masks.labels.select(names), as_pixels(image), masks, concat, legend, style)


def visualize_label(
    masks, image, names: str | Iterable[str] | None = None, concat: bool = False, **options
) -> PilImage.Image:
    """Draw labels over an image: those named, or all that are present without `names`.

    The options are those of `visualize_certain_labels`, which see.
    """
    masks = as_masks(masks, options.pop("labels", None))
    if names is not None:
        return visualize_certain_labels(names, image, masks, concat=concat, **options)
    present = np.flatnonzero(masks.counts()).tolist()
    return _picture(present, as_pixels(image), masks, concat, options.pop("legend", False), options)


def visualize_comparison(
    names: str | Iterable[str],
    image,
    target,
    prediction,
    *,
    labels: LabelSet | None = None,
    legend: bool = False,
    **style,
) -> PilImage.Image:
    """Put target, prediction and their difference (see `compare`) side by side, titled.

    The parameters are those of `visualize_certain_labels`; `target` and `prediction` are what
    `as_masks` takes."""
    target, prediction = as_masks(target, labels), as_masks(prediction, labels)
    pixels, indices = as_pixels(image), target.labels.select(names)
    panels = [
        titled(compare(pixels, target, prediction, indices, mode=mode, **style), title)
        for mode, title in (
            ("target", "ground truth"),
            ("prediction", "prediction"),
            ("difference", "difference"),
        )
    ]
    if legend:
        kinds = zip(
            ("true positive", "false positive", "false negative"), _DIFFERENCE_COLORS, strict=True
        )
        panels.append(legend_page(_entries(target.labels, indices) + list(kinds), panels[0].height))
    return beside(panels)


_DIFFERENCE_COLORS = (TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE)


def _picture(
    indices: list[int],
    pixels: np.ndarray,
    masks: PackedMasks,
    concat: bool,
    legend: bool,
    style: dict,
):
    panels = [PilImage.fromarray(render(pixels, masks, indices, **style))]
    if concat:
        plain = render(pixels, masks, [], window=style.get("window", (0, 255)))
        panels.insert(0, PilImage.fromarray(plain))
    if legend:
        panels.append(legend_page(_entries(masks.labels, indices), panels[0].height))
    return beside(panels)


def _entries(labels: LabelSet, indices: Iterable[int]) -> list[tuple[str, tuple[int, ...]]]:
    return [(labels.names[i], tuple(labels.colors[i].tolist())) for i in indices]
