"""Mask files written byte by byte: with headers that lie, and contents that no program writes."""

import json
import struct
import zlib

import zstandard


def write_npy(path, header, body=b"", version=(1, 0)):
    """Write a `.npy` file of any header, text or bytes."""
    header = header.encode("latin-1") if isinstance(header, str) else header
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + header + body)


def npy_header(shape, descr="'|b1'", fortran_order=False):
    """Return the header that NumPy would write for a shape, a tuple or text."""
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"


def write_pxm(path, header, body, version=1, length=None):
    """Write a packed file, with the right checksum, of any header (bytes, or made to JSON)."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    content = struct.pack("<8sHI", b"PAXMASK\n", version, length) + text + body
    path.write_bytes(content + struct.pack("<I", zlib.crc32(content)))


ZEROS = zstandard.compress(bytes(6))
SMALL = {"shape": [2, 2, 3], "labels": ["a", "b"], "body_bytes": len(ZEROS)}
"""Header and body of a packed file of two empty masks of 2 x 3."""


def coco_content(runs, ids=(1, 2), size=(2, 3)):
    """COCO content of another tool: ids from 1, in any order, run lengths as lists or text."""
    height, width = size
    return {
        "images": [{"id": 7, "height": height, "width": width}],
        "categories": [{"id": ids[1], "name": "b"}, {"id": ids[0], "name": "a"}],
        "annotations": [
            {
                "id": k,
                "category_id": ids[1],
                "segmentation": {"size": [height, width], "counts": counts},
            }
            for k, counts in enumerate(runs)
        ],
    }
