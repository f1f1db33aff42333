"""Decode one DICOM image as it should be looked at: bright is dense, upright as stored.

Order of steps (DICOM PS3.3 C.7.6.3, C.11): modality LUT or rescale; VOI LUT, else the first window,
else the image's own range of values without its padding; MONOCHROME1 inverted; padding black.

Modality (0008,0060): a slice of CT or MR, a sonogram or a mammogram looks like any other picture to
a network, so that only radiographs of the body are read: CR, DX, RG, and DR or XR, as some systems
write instead; XA and RF, since chests are taken on such units too; OT and SC, of pictures that were
captured; and files that do not say. The SOP class is asked as well, since one of the two may have
been lost or changed."""

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_modality_lut, apply_voi

from paxray_lib.images.image import FORMATS, MAX_PIXELS, Image, naming_errors, to_unit
from paxray_lib.images.views import view_of

_POSITIONS = {"PA": "frontal", "AP": "frontal"} | dict.fromkeys(("LL", "RL", "LATERAL"), "lateral")
# rows that run to the left or right of the patient, or to the front or back
_ROW_DIRECTIONS = {"L": "frontal", "R": "frontal", "A": "lateral", "P": "lateral"}
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
    if data[128:132] == b"DICM":
        return True
    # (0008,0000..0018), little endian, then the letters of a value representation or a small length
    is_group_8 = data[:2] == b"\x08\x00" and data[2:4] in (
        b"\0\0",
        b"\5\0",
        b"\x08\0",
        b"\x16\0",
        b"\x18\0",
    )
    return is_group_8 and (data[4:6].isalpha() or int.from_bytes(data[4:8], "little") <= 256)


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
        other = _other_than_radiograph(dataset)
    if other:
        known = ", ".join(filter(None, _RADIOGRAPHS))
        raise ValueError(f"{path}: DICOM of {other}, no X-ray image ({known}); leave it out")
    with naming_errors(path, _UNREADABLE):
        _check_header(dataset)
        pixels = _displayed(dataset)
        return Image(pixels, _spacing_of(dataset), _view_in(dataset) or view_of(path))


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


def _parse(data: bytes) -> pydicom.Dataset:
    with quiet():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    # an old file without a header: it can only be uncompressed
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _other_than_radiograph(dataset: pydicom.Dataset) -> str:
    """Return the modality or SOP class that a radiograph does not have, or an empty text."""
    modality, kind = str(dataset.get("Modality") or "").strip().upper(), dataset.get("SOPClassUID")
    if modality not in _RADIOGRAPHS:
        return f"modality {modality}"
    return f"class {uid.UID(kind).name}" if kind in _OTHER_CLASSES else ""


def _check_header(dataset: pydicom.Dataset) -> None:
    if "PixelData" not in dataset:
        raise ValueError("no pixel data: not an image, or cut short")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"{frames} frames, but one X-ray image is needed")
    rows, columns = dataset.Rows, dataset.Columns
    if rows * columns > MAX_PIXELS:
        raise ValueError(f"{rows} x {columns} pixels, more than the limit of {MAX_PIXELS}")


def _displayed(dataset: pydicom.Dataset) -> np.ndarray:
    """Return (H, W) float32 in 0..1."""
    stored, photometric = dataset.pixel_array, dataset.PhotometricInterpretation
    if stored.ndim == 3 and stored.shape[-1] == 3 and photometric != "PALETTE COLOR":
        if dataset.BitsStored not in (8, 16):
            raise ValueError(f"color with {dataset.BitsStored} bits, but 8 or 16 are needed")
        return to_unit(stored)
    if stored.ndim != 2 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(
            f"photometric interpretation {photometric}, but grayscale or RGB is needed"
        )
    padding = _padding(stored, dataset)
    pixels = _windowed(apply_modality_lut(stored, dataset), dataset, padding)
    if photometric == "MONOCHROME1":
        pixels = 1 - pixels
    pixels[padding] = 0
    return pixels.astype(np.float32)


def _padding(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Return (H, W) bool: pixels that are no measurement."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    padding = (stored >= low) & (stored <= high)
    return padding & (not padding.all())  # a value that every pixel has marks none of them


def _windowed(values: np.ndarray, dataset: pydicom.Dataset, padding: np.ndarray) -> np.ndarray:
    """Return (H, W) float64 in 0..1."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi(values, dataset) / float(2**bits - 1)
    window = _first_window(dataset)
    if window:
        return _window(values, *window, function=dataset.get("VOILUTFunction") or "LINEAR")
    measured = values[~padding]
    low, high = float(measured.min()), float(measured.max())
    return np.clip((values - low) / (high - low or 1), 0, 1)


def _first_window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    values = [dataset.get(name) for name in ("WindowCenter", "WindowWidth")]
    if None in values or "" in values:
        return None
    center, width = (float(np.atleast_1d(value)[0]) for value in values)
    return (center, width) if np.isfinite(center) and width > 0 else None


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


def _spacing_of(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    # the first is at the patient, where it is given
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = np.array(dataset.get(name) or (), float).ravel()
        if len(spacing) == 2 and (spacing > 0).all() and np.isfinite(spacing).all():
            return float(spacing[0]), float(spacing[1])
    return None


def _view_in(dataset: pydicom.Dataset) -> str | None:
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    rows = str(np.atleast_1d(dataset.get("PatientOrientation") or "")[0]).strip().upper()
    return _POSITIONS.get(position) or _ROW_DIRECTIONS.get(rows[:1])
