"""Decode one DICOM image as it should be looked at: bright is dense, upright as stored.

Order of steps (DICOM PS3.3 C.7.6.3, C.11): modality LUT or rescale; VOI LUT, else the first window,
else the image's own range of values without its padding; MONOCHROME1 inverted; padding black."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset, uid
from pydicom.pixels import apply_modality_lut, apply_voi

from paxray_lib.images.dicom_file import parse, shape_of, stored_values
from paxray_lib.images.image import (
    FORMATS,
    Image,
    check_size,
    possible_spacing,
    row_blocks,
    to_unit,
)
from paxray_lib.images.views import VIEW_WORDS, view_of
from paxray_lib.utils.errors import naming_errors

# rows that run to the left or right of the patient, or to the front or back
_ROW_DIRECTIONS = {"L": "frontal", "R": "frontal", "A": "lateral", "P": "lateral"}
# A network takes any slice, sonogram or mammogram for a picture, so only these are read: DR and XR
# are written for DX; chests are taken on XA and RF units too; OT and SC are captured pictures; ""
# does not say. The class is asked as well, since one of the two may have been lost or changed.
_RADIOGRAPHS = ("CR", "DX", "RG", "DR", "XR", "XA", "RF", "OT", "SC", "")
_OTHER_CLASSES = (
    uid.CTImageStorage,
    uid.EnhancedCTImageStorage,
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.UltrasoundImageStorage,
    uid.NuclearMedicineImageStorage,
    uid.PositronEmissionTomographyImageStorage,
    uid.DigitalMammographyXRayImageStorageForPresentation,
    uid.DigitalMammographyXRayImageStorageForProcessing,
)
_UNREADABLE = "DICOM that cannot be read"


def looks_like_dicom(data: bytes) -> bool:
    """Tell whether data has DICOM's magic word, or starts like an old file, with group 0008."""
    # (0008,0000..0018), little endian, then the letters of a value representation or a small length
    is_group_8 = data[:4] in [bytes((8, 0, element, 0)) for element in (0, 5, 8, 0x16, 0x18)]
    is_old = data[4:6].isalpha() or int.from_bytes(data[4:8], "little") <= 256
    return data[128:132] == b"DICM" or (is_group_8 and is_old)


def read_dicom(data: bytes, path: Path) -> Image:
    """Decode the bytes of a DICOM file; `path` says the view if the header does not.

    Raises
    ------
    ValueError
        If it is not DICOM, has no single image, is of a modality other than X-rays, or cannot be
        decoded; the message names `path`.
    """
    if not looks_like_dicom(data):
        raise ValueError(
            f"{path}: not a {FORMATS} image by its content; convert it to one of these, "
            "or remove it"
        )
    with naming_errors(path, _UNREADABLE):
        dataset = parse(data)
        modality = str(dataset.get("Modality") or "").strip().upper()
        kind = dataset.get("SOPClassUID")
    is_other = modality not in _RADIOGRAPHS
    if is_other or kind in _OTHER_CLASSES:
        other = f"modality {modality}" if is_other else f"class {uid.UID(kind).name}"
        raise ValueError(
            f"{path}: DICOM of {other}, no X-ray image ({', '.join(_RADIOGRAPHS[:-1])}); "
            "leave it out"
        )
    with naming_errors(path, _UNREADABLE):
        if "PixelData" not in dataset:
            raise ValueError("no pixel data: not an image, or cut short")
        size = shape_of(dataset)
    check_size(path, *size)
    with naming_errors(path, _UNREADABLE), np.errstate(all="ignore"):
        spacing, doubt = _spacing_of(dataset, size[:2])
        return Image(_displayed(dataset), spacing, _view_in(dataset) or view_of(path), doubt)


def read_view(data: bytes, path: Path) -> str | None:
    """Return the view of a DICOM file from its bytes, or its path, without decoding pixels."""
    with naming_errors(path, _UNREADABLE):
        return _view_in(parse(data)) or view_of(path)


def _displayed(dataset: Dataset) -> np.ndarray:
    """Return (H, W) float32 in 0..1, NaN where the header makes no number of a value."""
    if (frames := int(dataset.get("NumberOfFrames") or 1)) != 1:
        raise ValueError(f"{frames} frames, but one X-ray image is needed")
    stored, photometric = stored_values(dataset), dataset.PhotometricInterpretation
    if stored.ndim == 3 and stored.shape[-1] == 3 and photometric != "PALETTE COLOR":
        if dataset.BitsStored not in (8, 16):
            raise ValueError(f"color with {dataset.BitsStored} bits, but 8 or 16 are needed")
        return to_unit(stored)
    if stored.ndim != 2 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"photometric interpretation {photometric}, not grayscale or RGB")
    padding = _padding_range(stored, dataset)
    shown = _voi(stored, dataset, padding)
    pixels = np.empty(stored.shape, np.float32)
    for rows in row_blocks(stored):
        values = shown(apply_modality_lut(stored[rows], dataset))
        pixels[rows] = 1 - values if photometric == "MONOCHROME1" else values
        pixels[rows][_is_within(stored[rows], padding)] = 0
    return pixels


def _padding_range(stored: np.ndarray, dataset: Dataset) -> tuple[int, int] | None:
    """Return the lowest and highest value of pixels that are no measurement, if there are such."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    # a value that every pixel has marks none of them
    return None if low <= stored.min() and stored.max() <= high else (low, high)


def _is_within(stored: np.ndarray, padding: tuple[int, int] | None) -> np.ndarray:
    if padding is None:
        return np.zeros(stored.shape, bool)
    return (stored >= padding[0]) & (stored <= padding[1])


def _voi(
    stored: np.ndarray, dataset: Dataset, padding: tuple[int, int] | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes values of interest 0..1: a table, a window, or else their own range."""
    if dataset.get("VOILUTSequence"):
        full = float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
        return lambda values: apply_voi(values, dataset) / full
    windows = [dataset.get(name) for name in ("WindowCenter", "WindowWidth")]
    if None not in windows and "" not in windows:
        center, width = (float(np.atleast_1d(value)[0]) for value in windows)  # the first one
        if np.isfinite((center, width)).all() and width > 0:
            function = dataset.get("VOILUTFunction") or "LINEAR"
            return lambda values: _window(values, center, width, function)
    blocks = ((stored[rows], padding) for rows in row_blocks(stored))
    measured = (
        apply_modality_lut(block[~_is_within(block, padding)], dataset) for block, padding in blocks
    )
    ranges = [(values.min(), values.max()) for values in measured if values.size]
    low, high = float(np.min(ranges)), float(np.max(ranges))
    return lambda values: np.clip((values - low) / (high - low or 1), 0, 1)


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Apply a window as in DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, onto 0..1.

    Not pydicom's `apply_windowing`: it refuses a width below 1 and an unknown function, and its
    result has another range, by the bits and the rescale slope of the header."""
    if function == "SIGMOID":
        # 1 / (1 + exp(-4 (x - c) / w)) without overflow
        return (1 + np.tanh(2 * (values - center) / width)) / 2
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1
    if width <= 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _spacing_of(dataset: Dataset, shape: tuple[int, ...]) -> tuple[tuple[float, float] | None, str]:
    doubts = []
    # the first is at the patient, where it is given
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(name)
        row_column = np.array(() if value in (None, "") else value, float).ravel().tolist()
        if len(row_column) == 2:
            spacing, doubt = possible_spacing((row_column[0], row_column[1]), shape)
            if spacing:
                return spacing, ""
            doubts.append(f"{name}: {doubt}")
        elif row_column:
            doubts.append(f"{name}: {row_column!s:.40} instead of two; its lengths are unknown")
    return None, doubts[0] if doubts else ""


def _view_in(dataset: Dataset) -> str | None:
    position = str(dataset.get("ViewPosition") or "").strip().lower()
    rows = str(np.atleast_1d(dataset.get("PatientOrientation") or "")[0]).strip().upper()
    return VIEW_WORDS.get(position) or _ROW_DIRECTIONS.get(rows[:1])
