"""Overlays: an image and its masks as RGB pixels, by integer rules.

The viewer's JavaScript repeats these rules exactly. All numbers are integers, `//` rounds down, a
pixel is computed from itself and its neighbours alone, and the order of the labels never matters.

1. Base. An 8-bit gray `g` is shown through the window (low, high), 0 <= low < high <= 255: 0 up to
   low, 255 from high on, and ((g - low) * 255 + (high - low) // 2) // (high - low) between.
   (0, 255) changes nothing. Each channel of a colour image goes the same way.
2. Mean colour of n >= 1 labels, for each channel: (sum of the n values + n // 2) // n.
3. Fill. Where n >= 1 selected labels lie, with c their mean colour and a the opacity 0..255, each
   channel becomes (base * (255 - a) + c * a + 127) // 255. Other pixels keep their base: nothing
   is darkened.
4. Outline. The inner boundary of a label, w pixels wide, is what w erosions by the plus-shaped
   neighbourhood (up, down, left, right) take away. Outside the image nothing is marked, so that
   outlines close at its border. Where n >= 1 boundaries lie, the pixel becomes their mean colour
   (rule 2), opaque, whatever the fill. A dashed outline leaves out the pixels with
   (x + 2 * y) // 4 odd, x the column and y the row.
5. Difference. At a pixel each selected label that is in both stacks counts as the colour
   TRUE_POSITIVE, in the prediction only as FALSE_POSITIVE, in the target only as FALSE_NEGATIVE.
   Rules 2 and 3 follow.

The colours are those of the label table, one for fill and outline. Those of rule 5 can be told
apart in the common kinds of colour blindness (Okabe and Ito, "Color Universal Design", 2008).
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image as PilImage

from paxray_lib.images import Image, read_image
from paxray_lib.images.read import wide_to_unit
from paxray_lib.labels import LABELS, LabelSet
from paxray_lib.masks import PackedMasks
from paxray_lib.utils.errors import check_choice
from paxray_lib.viz.blending import bands, draw_outlines, one_color, paint, select_planes, sum_words
from paxray_lib.viz.compose import label_entries, legend_page, side_by_side, titled

ImageLike = str | os.PathLike | Image | PilImage.Image | np.typing.ArrayLike
MasksLike = str | os.PathLike | PackedMasks | np.typing.ArrayLike
ALPHA = 96  # default opacity of fills, 0..255; chosen by eye
TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = (0, 158, 115), (230, 159, 0), (86, 180, 233)
DIFFERENCE_COLORS = {
    "true positive": TRUE_POSITIVE,
    "false positive": FALSE_POSITIVE,
    "false negative": FALSE_NEGATIVE,
}
MODES = ("target", "prediction", "both", "difference")
#: Title and mode of what a comparison shows side by side.
PANELS = {"ground truth": "target", "prediction": "prediction", "difference": "difference"}
_MAX_OUTLINE = 64  # pixels


def as_pixels(image: ImageLike) -> np.ndarray:
    """Return an image as (H, W) or (H, W, 3) uint8.

    Arrays are (H, W) gray or (H, W, 3) RGB, uint8 or float in 0..1; a float f becomes
    floor(255 f + 0.5). Another shape, type or range is a ValueError.
    """
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    if isinstance(image, Image):
        image = image.pixels
    elif isinstance(image, PilImage.Image) and image.mode.startswith("I;16"):
        image = wide_to_unit(np.asarray(image))
    elif isinstance(image, PilImage.Image) and image.mode in ("I", "F"):
        raise ValueError(f"a PIL image of mode {image.mode!r} has no range; pass floats in 0..1")
    elif isinstance(image, PilImage.Image) and image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or 0 in pixels.shape:
        raise ValueError(f"image must be (H, W) gray or (H, W, 3) RGB, got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            f"image array is {pixels.dtype} from {pixels.min()} to {pixels.max()}; "
            "uint8, or float from 0 to 1, is needed"
        )
    return (pixels * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def as_masks(masks: MasksLike, labels: LabelSet | None = None) -> PackedMasks:
    """Return PackedMasks, a path (.npy, .pxm, .json) or an (L, H, W) array as PackedMasks.

    Arrays are bool or 0/1. `labels` are those of an array or a file, by default the published
    table of 166; another number is a ValueError.
    """
    if isinstance(masks, (str, os.PathLike)):
        return PackedMasks.read(masks, labels)
    if isinstance(masks, PackedMasks):
        return masks
    stack = np.asarray(masks)
    if labels is None and (stack.ndim != 3 or len(stack) != len(LABELS)):
        raise ValueError(
            f"masks of shape {stack.shape}: a ({len(LABELS)}, H, W) stack of the published labels "
            "is expected; for other labels pass labels=LabelSet([...])"
        )
    return PackedMasks.pack(stack, LABELS if labels is None else labels)


def check_fit(
    image: np.ndarray, target: PackedMasks | None, prediction: PackedMasks | None = None
) -> None:
    """Raise a ValueError if those that are given differ in height and width, or in labels."""
    for name, masks in (("masks", target), ("predicted masks", prediction)):
        if masks is not None and image.shape[:2] != masks.shape[1:]:
            (rows, columns), (_, height, width) = image.shape[:2], masks.shape
            raise ValueError(
                f"the image has {rows} rows and {columns} columns, but the {name} {height} and "
                f"{width}; resize them, for instance with PackedMasks.resize({rows}, {columns})"
            )
    if target is not None and prediction is not None and target.labels != prediction.labels:
        raise ValueError(
            f"target and prediction have different labels: {target.labels} and {prediction.labels}"
        )


def render(
    image: ImageLike,
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
    image : path, PIL image, or (H, W) or (H, W, 3) array; see `as_pixels`
    masks : PackedMasks of shape (L, H, W)
    indices : iterable of int, the labels to draw; all by default
    alpha : opacity of the fill, 0 (none) to 255
    outline, dashed : width of the outlines in pixels, 0 for none; whether they are dashed
    window : gray values shown as black and as white

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    ValueError
        If image and masks differ in size, or a number is outside its range.
    """
    canvas = windowed(image, window)
    check_fit(canvas, masks)
    alpha, outline = _checked("alpha", alpha, 255), _checked("outline", outline, _MAX_OUTLINE)
    indices = None if indices is None else list(indices)
    for part, shown in bands(canvas, [masks], outline):
        planes = select_planes(shown, indices)
        paint(part, sum_words(planes), alpha)
        draw_outlines(part, planes, outline, dashed)
    return canvas


def compare(
    image: ImageLike,
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
    """Draw a target and a prediction, of the same labels and size, over one image.

    Parameters
    ----------
    mode : {"difference", "both", "target", "prediction"}
        "difference" is rule 5, without outlines, of labels that both know; "both" fills the
        target and outlines the prediction, by a pixel or more; the others are `render` of one.
    image, indices, alpha, outline, dashed, window : as for `render`, as are result and errors
    """
    check_choice(mode, MODES, "mode")
    canvas = windowed(image, window)
    check_fit(canvas, target, prediction)
    if mode in ("target", "prediction"):
        shown = target if mode == "target" else prediction
        return render(canvas, shown, indices, alpha=alpha, outline=outline, dashed=dashed)
    alpha, outline = _checked("alpha", alpha, 255), _checked("outline", outline, _MAX_OUTLINE)
    indices = None if indices is None else list(indices)
    if mode == "difference":
        known = target.known & prediction.known
        target, prediction = target.knowing(known), prediction.knowing(known)
    for part, *stacks in bands(canvas, [target, prediction], max(1, outline)):
        true, predicted = (select_planes(stack, indices) for stack in stacks)
        if mode == "both":
            paint(part, sum_words(true), alpha)
            draw_outlines(part, predicted, max(1, outline), dashed)
        else:
            words = one_color(true.data & predicted.data, TRUE_POSITIVE)
            words += one_color(predicted.data & ~true.data, FALSE_POSITIVE)
            paint(part, words + one_color(true.data & ~predicted.data, FALSE_NEGATIVE), alpha)
    return canvas


def windowed(image: ImageLike, window: tuple[int, int]) -> np.ndarray:
    """Return the (H, W, 3) uint8 pixels of an image without labels: rule 1."""
    shown = window_table(window)[as_pixels(image)]
    return np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown


def window_table(window: Sequence[int]) -> np.ndarray:
    """Return the (256,) uint8 table of rule 1.

    >>> window_table([50, 60])[[49, 51, 55, 60]].tolist()
    [0, 26, 128, 255]
    """
    if len(window) != 2 or not 0 <= window[0] < window[1] <= 255:
        raise ValueError(f"window {window}: two gray values, 0 <= low < high <= 255, are needed")
    low, high = window
    inside = np.clip(np.arange(256) - low, 0, high - low)
    return ((inside * 255 + (high - low) // 2) // (high - low)).astype(np.uint8)


def _checked(name: str, value: int, high: int) -> int:
    if value != int(value) or not 0 <= value <= high:
        raise ValueError(f"{name} {value!r}: an integer from 0 to {high} is needed")
    return int(value)


def visualize_label(
    masks: MasksLike,
    image: ImageLike,
    names: str | Iterable[str] | None = None,
    concat: bool = False,
    *,
    labels: LabelSet | None = None,
    legend: bool = False,
    **style: Any,
) -> PilImage.Image:
    """Draw labels over an image: those named, or all that are present.

    Parameters
    ----------
    masks : PackedMasks, path, or (L, H, W) array; see `as_masks`
    image : path, PIL image, or (H, W) or (H, W, 3) array; see `as_pixels`
    names : names, groups and patterns, as in `LabelSet.select`
    concat : put the image without labels to the left
    labels : LabelSet of `masks` that do not carry it; the 166 published ones by default
    legend : put the drawn names with their colours to the right
    **style : alpha, outline, dashed, window, as for `render`

    Returns
    -------
    RGB PIL image, of the image's own size without `concat` and `legend`

    Raises
    ------
    ValueError
        For an unknown name, with near matches, and if sizes or numbers do not fit.
    """
    masks, pixels = as_masks(masks, labels), as_pixels(image)
    check_fit(pixels, masks)
    indices = np.flatnonzero(masks.counts()) if names is None else masks.labels.select(names)
    parts = [render(pixels, masks, indices, **style)]
    if concat:
        parts.insert(0, windowed(pixels, style.get("window", (0, 255))))
    if legend:
        parts.append(legend_page(label_entries(masks.labels, indices), len(parts[0])))
    return side_by_side(parts)


def visualize_certain_labels(
    names: str | Iterable[str], image: ImageLike, masks: MasksLike, **options: Any
) -> PilImage.Image:
    """Draw certain labels over an image; see `visualize_label` for the options."""
    return visualize_label(masks, image, names, **options)


def visualize_comparison(
    names: str | Iterable[str],
    image: ImageLike,
    target: MasksLike,
    prediction: MasksLike,
    *,
    labels: LabelSet | None = None,
    legend: bool = False,
    **style: Any,
) -> PilImage.Image:
    """Put target, prediction and their difference side by side; see `visualize_label`."""
    target, prediction = as_masks(target, labels), as_masks(prediction, labels)
    pixels, indices = as_pixels(image), target.labels.select(names)
    parts = [
        titled(compare(pixels, target, prediction, indices, mode=mode, **style), title)
        for title, mode in PANELS.items()
    ]
    if legend:
        entries = label_entries(target.labels, indices) | DIFFERENCE_COLORS
        parts.append(legend_page(entries, len(parts[0])))
    return side_by_side(parts)
