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
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.pixels import apply_modality_lut, apply_voi
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

_FRONTAL = {"PA", "AP"}
_LATERAL = {"LL", "RL", "LATERAL"}
_RADIOGRAPHS = ("CR", "DX", "RG", "DR", "XR", "XA", "RF", "OT", "SC", "")
_OTHER_CLASSES = (
    uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.MRImageStorage, uid.EnhancedMRImageStorage,
    uid.UltrasoundImageStorage, uid.NuclearMedicineImageStorage, uid.PositronEmissionTomographyImageStorage,
    uid.DigitalMammographyXRayImageStorageForPresentation, uid.DigitalMammographyXRayImageStorageForProcessing,
)  # fmt: skip
_GRAY = ("MONOCHROME1", "MONOCHROME2")
# What pydicom and its decoders raise for broken or unsupported data.
_BROKEN = (
    OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, RuntimeError, EOFError,
    OverflowError, struct.error, zlib.error, pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException,
)  # fmt: skip
_FILTERING = threading.Lock()


def looks_like_dicom(data: bytes) -> bool:
    """Return whether `data` is DICOM: with the magic word, or an old file that starts with a group
    8 element.
    """
    if data[128:132] == b"DICM":
        return True
    # (0008,0000..0018), little endian, then an explicit value representation or a small implicit
    # length
    if (
        len(data) < 8
        or data[:2] != b"\x08\x00"
        or data[2] not in (0x00, 0x05, 0x08, 0x16, 0x18)
        or data[3]
    ):
        return False
    return data[4:6].isalpha() or int.from_bytes(data[4:8], "little") <= 256


def decode(
    data: bytes, path: Path, max_pixels: int
) -> tuple[np.ndarray, tuple[float, float] | None, str | None]:
    """Decode the bytes of a DICOM file.

    Parameters
    ----------
    data : the whole file
    path : named in errors
    max_pixels : the limit on rows x columns

    Returns
    -------
    pixels : (H, W) float32 in 0..1, or (H, W, 3) uint8 or uint16 of full range
    spacing_mm : (row, column) or None
    view : "frontal", "lateral" or None

    Raises
    ------
    ValueError
        If there is no single image in it, it is of a modality other than X-rays, or it cannot be
        decoded.
    """
    try:
        dataset = _parse(data)
        other = _other_than_radiograph(dataset)
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    if other:
        known = ", ".join(filter(None, _RADIOGRAPHS))
        raise ValueError(f"{path}: DICOM of {other}, no X-ray image ({known}); leave it out")
    try:
        _check_header(dataset, max_pixels)
        return _displayed(dataset), _spacing(dataset), _view(dataset)
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())
    return ValueError(f"{path}: DICOM that cannot be read ({reason}); fetch or export it again")


def view_in_header(data: bytes, path: Path) -> str | None:
    """Return "frontal", "lateral" or None from the bytes of a DICOM file, whose pixels are not
    decoded; `path` is named in the ValueError for a header that cannot be read."""
    try:
        return _view(_parse(data))
    except _BROKEN as error:
        raise ValueError(
            f"{path}: DICOM that cannot be read ({error}); fetch or export it again"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back warnings of pydicom about what it repairs or misses; what matters here becomes an
    error.

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
        dataset.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return dataset


def _other_than_radiograph(dataset: pydicom.Dataset) -> str:
    """Return the modality or SOP class that a radiograph does not have, or an empty text."""
    modality, kind = str(dataset.get("Modality") or "").strip().upper(), dataset.get("SOPClassUID")
    if modality not in _RADIOGRAPHS:
        return f"modality {modality}"
    return f"class {uid.UID(kind).name}" if kind in _OTHER_CLASSES else ""


def _check_header(dataset: pydicom.Dataset, max_pixels: int) -> None:
    if "PixelData" not in dataset:
        raise ValueError("no pixel data: not an image, or cut short")
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"{frames} frames, but one X-ray image is needed")
    if dataset.Rows * dataset.Columns > max_pixels:
        raise ValueError(
            f"{dataset.Rows} x {dataset.Columns} pixels, more than the limit of {max_pixels}"
        )


def _displayed(dataset: pydicom.Dataset) -> np.ndarray:
    stored = dataset.pixel_array
    photometric = dataset.PhotometricInterpretation
    if stored.ndim == 3 and stored.shape[-1] == 3 and photometric != "PALETTE COLOR":
        return _full_range(stored, dataset.BitsStored)
    if stored.ndim != 2 or photometric not in _GRAY:
        raise ValueError(
            f"photometric interpretation {photometric}, but grayscale or RGB is needed"
        )
    padding = _padding(stored, dataset)
    values = apply_modality_lut(stored, dataset)
    pixels = _windowed(values, dataset, padding)
    if photometric == "MONOCHROME1":
        pixels = 1 - pixels
    pixels[padding] = 0
    return pixels.astype(np.float32)


def _full_range(stored: np.ndarray, bits: int) -> np.ndarray:
    if bits not in (8, 16):
        raise ValueError(f"color with {bits} bits, but 8 or 16 are needed")
    return stored


def _padding(stored: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Return (H, W) bool: pixels that are no measurement."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    padding = (stored >= low) & (stored <= high)
    return padding if not padding.all() else np.zeros(stored.shape, bool)


def _windowed(values: np.ndarray, dataset: pydicom.Dataset, padding: np.ndarray) -> np.ndarray:
    """Return (H, W) float64 in 0..1."""
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        bits = int(table.LUTDescriptor[2])
        return apply_voi(values, dataset) / float(2**bits - 1)
    window = _first_window(dataset)
    if window is None:
        return _own_range(values, padding)
    return _window(values, *window, function=dataset.get("VOILUTFunction") or "LINEAR")


def _first_window(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    center, width = (dataset.get(name) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or "" in (center, width):
        return None
    center, width = (float(np.atleast_1d(value)[0]) for value in (center, width))
    return (center, width) if np.isfinite(center) and width > 0 else None


def _window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Apply a window as in DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, onto 0..1."""
    values = values.astype(np.float64)
    if function == "SIGMOID":
        # 1 / (1 + exp(-4 (x - c) / w)) without overflow
        return (1 + np.tanh(2 * (values - center) / width)) / 2
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    # LINEAR: a width of 1 is a threshold at center - 0.5
    if width <= 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _own_range(values: np.ndarray, padding: np.ndarray) -> np.ndarray:
    measured = values[~padding]
    low, high = float(measured.min()), float(measured.max())
    if high == low:
        return np.zeros(values.shape)
    return np.clip((values - low) / (high - low), 0, 1)


def _spacing(dataset: pydicom.Dataset) -> tuple[float, float] | None:
    # the first is at the patient, where it is given
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = dataset.get(name)
        if value is not None and len(np.atleast_1d(value)) == 2:
            row, column = (float(number) for number in value)
            if 0 < row < np.inf and 0 < column < np.inf:
                return row, column
    return None


def _view(dataset: pydicom.Dataset) -> str | None:
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    if position in _FRONTAL:
        return "frontal"
    if position in _LATERAL:
        return "lateral"
    # Direction of the rows in the patient: to the left or right is frontal, to the front or back is
    # lateral.
    rows = str(np.atleast_1d(dataset.get("PatientOrientation") or "")[0]).strip().upper()[:1]
    return {"L": "frontal", "R": "frontal", "A": "lateral", "P": "lateral"}.get(rows)
