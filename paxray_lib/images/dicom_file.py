"""From the bytes of a DICOM file to its header and its stored values, within bounds.

DICOM has no checksums, and its lengths and texts can claim anything. So deflated files are inflated
here, headers are read only so far, and what the header says of the pixels is compared with them.
"""

import io
import itertools
import struct
import zlib

import numpy as np
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from paxray_lib.images import jpeg
from paxray_lib.images.apart import decode_apart
from paxray_lib.images.image import MAX_BYTES, inflated, quiet

# what is needed; its texts have 64 characters at most, several of them share an element
_TEXTS = (
    *("SOPClassUID", "Modality", "ViewPosition", "PatientOrientation", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacing", "ImagerPixelSpacing", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction"),
)
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MOST_TEXT, _MOST_TABLE = 1024, 1 << 20
# An X-ray file takes some hundred; an element of 8 bytes can cost 1000 in memory.
_MOST_READS = 100_000
_JPEG_2000 = b"\xff\x4f\xff\x51"


class _Bounded(io.BytesIO):
    """Bytes that can be read a limited number of times: pydicom takes two or three an element."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MOST_READS:
            raise ValueError(f"a header of more than {_MOST_READS // 2} elements")
        return super().read(size)


def parse(data: bytes) -> Dataset:
    """Return what is needed of a DICOM file, as it stands there.

    Raises ValueError or errors of pydicom's if the header is damaged or beyond its limits.
    """
    wanted = [*_TEXTS, *_TABLES, *_PIXELS, "ExtendedOffsetTable", "ExtendedOffsetTableLengths"]
    stream = _Bounded(_without_deflate(data))
    with quiet():
        dataset = dcmread(stream, force=True, specific_tags=wanted)
    dataset.buffer = dataset.fileobj_type = None  # the whole file would go with it to a decoder
    for names, limit in ((_TEXTS, _MOST_TEXT), (_TABLES, _MOST_TABLE)):
        for name in filter(dataset.__contains__, names):
            length = getattr(dataset.get_item(name), "length", 0)  # none if it is parsed already
            if length > limit:
                raise ValueError(f"{name} of {length} bytes, more than the limit of {limit}")
    with quiet():
        for name in filter(dataset.__contains__, _TEXTS):
            dataset[name]  # pydicom parses it now, and warns now
    # an old file without a header: it can only be uncompressed
    syntaxes = uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian
    dataset.file_meta.setdefault("TransferSyntaxUID", syntaxes[bool(dataset.original_encoding[0])])
    return dataset


def read_header(data: bytes, *, with_pixels: bool = False) -> Dataset:
    """Return all of a DICOM file, or all but its pixels; limits and errors as of `parse`."""
    stream = _Bounded(_without_deflate(data))
    with quiet():
        return dcmread(stream, stop_before_pixels=not with_pixels, force=True)


def _without_deflate(data: bytes) -> bytes:
    """Return the data of a deflated file alone, inflated; any other file as it is."""
    if data[128:132] != b"DICM":
        return data
    stream = _Bounded(data)
    stream.seek(132)
    with quiet():
        meta = read_dataset(stream, False, True, stop_when=_is_past_meta)
        syntax = meta.get("TransferSyntaxUID")
    if syntax != uid.DeflatedExplicitVRLittleEndian:
        return data
    return b"".join(inflated([memoryview(data)[stream.tell() :]], MAX_BYTES, -zlib.MAX_WBITS))


def _is_past_meta(tag: BaseTag, _: str | None, __: int) -> bool:
    return tag.group != 2


def shape_of(dataset: Dataset) -> tuple[int, int, int]:
    """Return rows, columns and bytes of a pixel as the header declares them."""
    names = "Rows", "Columns", "SamplesPerPixel", "BitsAllocated"
    rows, columns, samples, bits = (dataset.get(name) for name in names)
    if not all(isinstance(number, int) and number > 0 for number in (rows, columns, samples, bits)):
        numbers = [f"{name} {dataset.get(name)}" for name in names]
        raise ValueError(f"{', '.join(numbers)}: not an image, or cut short")
    return rows, columns, samples * -(-bits // 8)


def stored_values(dataset: Dataset) -> np.ndarray:
    """Return (H, W), or (H, W, 3), integers, as the header declares them.

    Raises ValueError, or errors of decoders, if they are damaged as far as these notice, or are not
    of the declared size.
    """
    rows, columns, pixel_bytes = shape_of(dataset)
    is_compressed = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    size, length = rows * columns * pixel_bytes, len(dataset.PixelData)
    if is_compressed:
        _check_frame(get_frame(dataset.PixelData, 0, number_of_frames=1), dataset)
        stored, printed = decode_apart(dataset)
        if printed:  # GDCM goes on after damage, and only prints it
            raise ValueError(f"its decoder says: {printed[0]}")
        return stored
    if length >= size + columns * pixel_bytes and any(dataset.PixelData[size:]):  # no padding
        raise ValueError(f"{length} bytes of pixels, but its header claims {size}")
    with quiet():
        return dataset.pixel_array


def _check_frame(frame: bytes, dataset: Dataset) -> None:
    """Compare compressed pixels with the header, before memory is spent on them."""
    declared = [dataset.Rows, dataset.Columns, dataset.SamplesPerPixel]
    if dataset.file_meta.TransferSyntaxUID == uid.RLELossless:
        _check_rle(frame, dataset.Rows * dataset.Columns, dataset.Columns)
        return
    if frame.startswith(jpeg.SIGNATURE):
        kind, _, *claimed = jpeg.frame_header(frame)
        if kind in jpeg.BY_FREQUENCIES:
            jpeg.check_scans(frame)
    elif (start := frame.find(_JPEG_2000)) >= 0:
        right, bottom, left, top = struct.unpack_from(">4L", frame, start + 8)
        claimed = [bottom - top, right - left, *struct.unpack_from(">H", frame, start + 40)]
    else:
        raise ValueError("compressed pixels that are neither JPEG nor JPEG 2000")
    if claimed != declared:
        raise ValueError(f"compressed pixels of {claimed}, but the header claims {declared}")


def _check_rle(frame: bytes, plane: int, columns: int) -> None:
    """Raise ValueError if a part of run lengths gives a row more than a plane of bytes has.

    Too little is for its decoder to say, which would keep any amount in memory.
    """
    count, *starts = struct.unpack_from("<16L", frame)
    for start, end in itertools.pairwise([*starts[:count], len(frame)]):
        place, total = start, 0
        while place < end:
            length = frame[place]
            if length < 128:  # that many and one more as they are
                total += length + 1
                place += length + 2
            elif length == 128:
                place += 1
            else:
                total += 257 - length
                place += 2
            if total > plane + columns:
                raise ValueError(f"run lengths of more than the {plane} bytes of a plane")
