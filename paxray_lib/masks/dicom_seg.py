"""Masks as a DICOM Segmentation of their X-ray: one segment per label; segments may overlap.

Anatomy is coded in SNOMED CT where `anatomy_codes.csv` has a code that names it exactly, with left,
right, anterior and posterior as modifiers. Every other label is a code of the private scheme
99PAXRAY: its own name."""

import csv
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from paxray_lib.images.dicom import looks_like_dicom
from paxray_lib.images.dicom_file import read_header
from paxray_lib.images.image import MAX_BYTES, quiet
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.bits import iter_planes
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.utils import atomic_write, naming_errors, read_bytes

_TABLE = Path(__file__).with_name("anatomy_codes.csv").read_text(encoding="utf-8")
_CODES = {row["part"]: (row["code"], row["meaning"]) for row in csv.DictReader(_TABLE.splitlines())}
_MODIFIERS = {
    "left": ("7771000", "Left"),
    "right": ("24028007", "Right"),
    "anterior": ("255549009", "Anterior"),
    "posterior": ("255551008", "Posterior"),
}
_NO_REFERENCE = ", so no dicom-seg can refer to it; use format packed"
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# Attributes that the standard allows to be empty and highdicom reads; many real files lack some
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip


def code_of(name: str) -> tuple[tuple[str, str, str], list[tuple[str, str]]]:
    """Return a label's code (value, scheme, meaning) and SNOMED CT modifiers (value, meaning).

    >>> code_of("rib_left_anterior_3")
    (('25888004', 'SCT', 'Third rib'), [('7771000', 'Left'), ('255549009', 'Anterior')])
    >>> code_of("lung_left_vessel")
    (('lung_left_vessel', '99PAXRAY', 'lung left vessel'), [])
    """
    words = name.split("_")
    part = "_".join(word for word in words if word not in (*_MODIFIERS, "overall"))
    if part not in _CODES:
        return (name, "99PAXRAY", name.replace("_", " ").strip()[:64] or name), []
    value, meaning = _CODES[part]
    return (value, "SCT", meaning), [_MODIFIERS[word] for word in words if word in _MODIFIERS]


def write_dicom_seg(
    path: Path, masks: PackedMasks, size: tuple[int, int], source: Path, algorithm: str
) -> None:
    """Write masks as a DICOM Segmentation (BINARY) of a DICOM image, atomically.

    Parameters
    ----------
    path, source : the new file, and the image's
    masks : PackedMasks of any size; they are resized (nearest) to `size`
    size : (H, W) of the image
    algorithm : name of the model, for the algorithm identification

    Raises
    ------
    ValueError
        If the source is not DICOM, or lacks what a segmentation must refer to; it is named. Or if
        a label's name has a backslash, which separates values in DICOM.
    """
    header = _read_header(source)
    try:
        segmentation = _describe(masks, size, header, algorithm)
    except Exception as error:
        raise ValueError(
            f"{source}: no DICOM segmentation can be made for it ({error}); use format packed"
        ) from error
    # of a single segment only what all frames share has the number
    groups = (
        *segmentation.PerFrameFunctionalGroupsSequence,
        *segmentation.SharedFunctionalGroupsSequence,
    )
    numbers = {
        item.ReferencedSegmentNumber
        for group in groups
        for item in group.get("SegmentIdentificationSequence", ())
    }
    planes = enumerate(iter_planes(masks.data, len(masks.labels), size), 1)
    shown = (plane for number, plane in planes if number in numbers)
    # DICOM packs frames without gaps: eight fill whole bytes
    eights = iter(lambda: list(islice(shown, 8)), [])
    packed = b"".join(np.packbits(eight, bitorder="little").tobytes() for eight in eights)
    segmentation.PixelData = packed + b"\0" * (len(packed) % 2)
    segmentation.Rows, segmentation.Columns = size
    with atomic_write(path) as temporary:
        segmentation.save_as(temporary)


def _read_header(source: Path) -> Dataset:
    data = read_bytes(source, MAX_BYTES)
    if not looks_like_dicom(data):
        raise ValueError(f"{source}: not DICOM{_NO_REFERENCE}, npy or coco")
    with naming_errors(source, "DICOM that cannot be read"):
        header = read_header(data)
        missing = [name for name in _NEEDED if not header.get(name)]
    if missing:
        raise ValueError(f"{source}: lacks {', '.join(missing)}{_NO_REFERENCE}")
    for name in _MAY_BE_EMPTY:
        header.setdefault(name, "")
    header.Modality = header.get("Modality") or "OT"
    # an X-ray has no place in space: highdicom fails on the little that it may say of one
    for name in ("FrameOfReferenceUID", "PixelSpacing", "SliceThickness"):
        header.pop(name, None)
    return header


def _describe(masks: PackedMasks, size: tuple[int, int], header: Dataset, algorithm: str) -> Any:
    """Return highdicom's segmentation, complete but for the size of its frames.

    highdicom wants the whole (1, H, W, L) array, 1.5 GB for a large X-ray. What it makes of it,
    apart from the pixels, depends on which labels occur alone: it gets as much in 8 x 8 pixels."""
    import highdicom

    if size[0] * size[1] < masks.data.shape[0] * masks.data.shape[1]:
        masks = masks.resize(*size)
    header.Rows = header.Columns = 8
    occurs = np.tile(masks.counts() > 0, (1, 8, 8, 1))  # (1, 8, 8, L)
    # masks without a single pixel, and values of the source that are odd but were there before
    with quiet():
        return highdicom.seg.Segmentation(
            source_images=[header],
            pixel_array=occurs,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=_segments(masks.labels, algorithm),
            series_instance_uid=highdicom.UID(),
            series_number=1,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="PAXRay",
            manufacturer_model_name=algorithm[:64],
            software_versions=version("paxray-lib"),
            device_serial_number="0",
            content_label="ANATOMY",
            specific_character_set="ISO_IR 192",  # label names may hold any character
        )


def _segments(labels: LabelSet, algorithm: str) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence, seg, sr

    family = sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    identification = AlgorithmIdentificationSequence(algorithm[:64], family, version("paxray-lib"))
    category = sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    segments = []
    for number, name in enumerate(labels.names, 1):
        if "\\" in name:
            raise ValueError(f"label {name!r:.80} has a backslash, which DICOM keeps for itself")
        code, modifiers = code_of(name)
        segment = seg.SegmentDescription(
            number, name[:64], category, sr.CodedConcept(*code), "AUTOMATIC", identification
        )
        if modifiers:
            anatomy = segment.SegmentedPropertyTypeCodeSequence[0]
            anatomy.SegmentedPropertyTypeModifierCodeSequence = [
                sr.CodedConcept(value, "SCT", meaning) for value, meaning in modifiers
            ]
        segments.append(segment)
    return segments
