"""Decode one DICOM image as it should be looked at: bright is dense, upright as stored.

Order of steps (DICOM PS3.3 C.7.6.3, C.11): modality LUT or rescale; VOI LUT, else the first window,
else the image's own range of values without its padding; MONOCHROME1 inverted; padding black."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread, uid
from pydicom.pixels import apply_modality_lut, apply_voi

from paxray_lib.images.apart import decode_apart
from paxray_lib.images.image import FORMATS, MAX_PIXELS, Image, to_unit
from paxray_lib.images.views import view_of
from paxray_lib.utils.errors import naming_errors

_POSITIONS = {"PA": "frontal", "AP": "frontal"} | dict.fromkeys(("LL", "RL", "LATERAL"), "lateral")
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
_FILTERING = threading.Lock()


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
        dataset = _parse(data)
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
        return Image(_displayed(dataset), _spacing_of(dataset), _view_in(dataset) or view_of(path))


def read_view(data: bytes, path: Path) -> str | None:
    """Return the view of a DICOM file from its bytes, or its path, without decoding pixels."""
    with naming_errors(path, _UNREADABLE):
        return _view_in(_parse(data)) or view_of(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back pydicom's warnings of what it repairs or misses; what matters becomes an error.

    One thread at a time, because `catch_warnings` changes the state of the process.
    """
    with _FILTERING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parse(data: bytes) -> Dataset:
    with quiet():
        dataset = dcmread(io.BytesIO(data), force=True)
    # an old file without a header: it can only be uncompressed
    syntaxes = uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian
    dataset.file_meta.setdefault("TransferSyntaxUID", syntaxes[bool(dataset.original_encoding[0])])
    return dataset


def _displayed(dataset: Dataset) -> np.ndarray:
    """Return (H, W) float32 in 0..1."""
    if "PixelData" not in dataset:
        raise ValueError("no pixel data: not an image, or cut short")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"{frames} frames, but one X-ray image is needed")
    rows, columns = dataset.Rows, dataset.Columns
    if rows * columns > MAX_PIXELS:
        raise ValueError(f"{rows} x {columns} pixels, more than the limit of {MAX_PIXELS}")
    stored, photometric = _stored(dataset), dataset.PhotometricInterpretation
    if stored.ndim == 3 and stored.shape[-1] == 3 and photometric != "PALETTE COLOR":
        if dataset.BitsStored not in (8, 16):
            raise ValueError(f"color with {dataset.BitsStored} bits, but 8 or 16 are needed")
        return to_unit(stored)
    if stored.ndim != 2 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"photometric interpretation {photometric}, not grayscale or RGB")
    padding = _padding(stored, dataset)
    pixels = _windowed(apply_modality_lut(stored, dataset), dataset, padding)
    if photometric == "MONOCHROME1":
        pixels = 1 - pixels
    pixels[padding] = 0
    return pixels.astype(np.float32)


def _stored(dataset: Dataset) -> np.ndarray:
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return dataset.pixel_array
    stored, printed = decode_apart(dataset)
    if printed:
        raise ValueError(f"its decoder says: {printed[0]}")
    return stored


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Return (H, W) bool: pixels that are no measurement."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    padding = (stored >= low) & (stored <= high)
    return padding & (not padding.all())  # a value that every pixel has marks none of them


def _windowed(values: np.ndarray, dataset: Dataset, padding: np.ndarray) -> np.ndarray:
    """Return (H, W) float64 in 0..1."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values, dataset) / float(2**bits - 1)
    windows = [dataset.get(name) for name in ("WindowCenter", "WindowWidth")]
    if None not in windows and "" not in windows:
        center, width = (float(np.atleast_1d(value)[0]) for value in windows)  # the first one
        if np.isfinite(center) and width > 0:
            return _window(values, center, width, dataset.get("VOILUTFunction") or "LINEAR")
    measured = values[~padding]
    low, high = float(measured.min()), float(measured.max())
    return np.clip((values - low) / (high - low or 1), 0, 1)


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


def _spacing_of(dataset: Dataset) -> tuple[float, float] | None:
    # the first is at the patient, where it is given
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = np.array(dataset.get(name) or (), float).ravel()
        if len(spacing) == 2 and (spacing > 0).all() and np.isfinite(spacing).all():
            return float(spacing[0]), float(spacing[1])
    return None


def _view_in(dataset: Dataset) -> str | None:
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    rows = str(np.atleast_1d(dataset.get("PatientOrientation") or "")[0]).strip().upper()
    return _POSITIONS.get(position) or _ROW_DIRECTIONS.get(rows[:1])
