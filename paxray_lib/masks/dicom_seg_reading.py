"""DICOM Segmentations of one image, as `dicom_seg` writes them, read back.

That is: BINARY, not compressed, a segment for each label, a frame for each segment that is anywhere
in the image. Others are refused.
"""

from typing import Any

import numpy as np

from paxray_lib.images.image import quiet
from paxray_lib.masks.bits import check_size, pack_planes

_MOST_NAME = 64  # characters, in DICOM
_MOST_HEADER = 1 << 22  # bytes; that of 166 segments has 0.2 MB


def decode_dicom_seg(content: bytes, expected: list[str] | None) -> tuple[np.ndarray, list[str]]:
    """Return the (H, W, B) packed bits and the names of the labels.

    `expected` are the names that they ought to have, or None: DICOM cuts those of more than 64
    characters, which are returned whole. Raises ValueError, or errors of pydicom's, if it is no
    such file, is damaged, or has other labels.
    """
    from paxray_lib.images.dicom_file import read_header  # pydicom takes a while

    dataset = read_header(content, with_pixels=True)
    if len(content) - len(dataset.PixelData) > _MOST_HEADER:
        raise ValueError(f"a header of more than {_MOST_HEADER} bytes")
    with quiet():
        if (dataset.get("SegmentationType"), dataset.get("BitsAllocated")) != ("BINARY", 1):
            raise ValueError("no DICOM segmentation of the kind BINARY")
        size = int(dataset.Rows), int(dataset.Columns)
        segments = [(int(s.SegmentNumber), str(s.SegmentLabel)) for s in dataset.SegmentSequence]
        shown = [_segment_of(dataset, i) for i in range(_frame_count(dataset, len(segments)))]
    numbers = {number for number, _ in segments}
    if len(numbers) < len(segments) or len(set(shown)) < len(shown) or not numbers >= set(shown):
        raise ValueError("two segments of a number, two frames of a segment, or a frame of none")
    frames = {number: i for i, number in enumerate(shown)}
    names = [name for _, name in segments] if expected is None else expected
    if [name for _, name in segments] != [name[:_MOST_NAME] for name in names]:
        raise ValueError(f"{len(segments)} segments of other names than the labels; other labels?")
    check_size(*size, len(names))
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    if len(frames) * size[0] * size[1] > 8 * len(packed):
        raise ValueError(f"{len(packed)} bytes for {len(frames)} frames of {size}; cut short")
    planes = (_plane(packed, frames.get(number), size) for number, _ in segments)
    return pack_planes(planes, size, names), names


def _frame_count(dataset: Any, segments: int) -> int:
    count = int(dataset.NumberOfFrames)
    if not 0 < count <= segments or dataset.file_meta.TransferSyntaxUID.is_compressed:
        raise ValueError(f"{count} frames of {segments} segments, or compressed ones")
    return count


def _segment_of(dataset: Any, frame: int) -> int:
    """Return the number of a frame's segment; of a single frame all that is shared may say it."""
    groups = dataset.PerFrameFunctionalGroupsSequence[frame]
    if "SegmentIdentificationSequence" not in groups:
        groups = dataset.SharedFunctionalGroupsSequence[0]
    return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _plane(packed: np.ndarray, frame: int | None, size: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool mask of a frame: frames follow each other without gaps."""
    if frame is None:
        return np.zeros(size, bool)
    count = size[0] * size[1]
    start, end = frame * count, (frame + 1) * count
    bits = np.unpackbits(packed[start // 8 : -(-end // 8)], bitorder="little")
    return bits[start % 8 :][:count].reshape(size).view(bool)
