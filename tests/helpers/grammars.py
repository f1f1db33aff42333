"""Damage that knows a format: fields of headers, parts, and contents under checksums that fit."""

import contextlib
import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from itertools import pairwise

import torch
from helpers.damage import ANY, TEXT, Change, change_field

from paxray_lib.models.digest import digest

Changes = dict[bool, list[Change]]


def _inside(
    name: str, changes: list[Change], take_out: Callable[[bytes], bytes], put_back: Callable
) -> Change:
    """Return a change of what lies in a container: `put_back(data, inner)` makes it whole."""

    def change(data: bytes, rng: random.Random) -> bytes:
        return put_back(data, rng.choice(changes)(take_out(data), rng))

    change.__name__ = name
    return change


def _fields(find: Callable[[bytes], list[tuple[int, str]]]) -> Change:
    def field(data: bytes, rng: random.Random) -> bytes:
        return change_field(data, rng, find(data))

    return field


def _shuffle(parts: list[bytes], rng: random.Random) -> list[bytes]:
    """Leave out, double or move one part."""
    at = rng.randrange(len(parts))
    part, rest = parts[at], parts[:at] + parts[at + 1 :]
    to = rng.randint(0, len(rest))
    return rng.choice((rest, [*parts[:at], part, *parts[at:]], [*rest[:to], part, *rest[to:]]))


# -- PNG


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks as (type, content)."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(data: bytes, rng: random.Random) -> bytes:
    (kind, head), *rest = _chunks(data)
    fields = [(0, ">I"), (4, ">I"), *((at, "B") for at in range(8, 13))]
    return _png([(kind, change_field(head, rng, fields)), *rest])


def png_chunk(data: bytes, rng: random.Random) -> bytes:
    chunks = _chunks(data)
    at = rng.randrange(len(chunks))
    kind, content = chunks[at]
    if rng.random() < 0.3:
        kind = rng.choice((b"acTL", b"fcTL", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"eXIf", b"XXXX"))
    chunks[at] = kind, rng.choice(ANY)(content, rng)
    return _png(chunks)


def png_order(data: bytes, rng: random.Random) -> bytes:
    chunks = _chunks(data)
    return _png(rng.choice((_shuffle(chunks, rng), chunks[:-1], chunks[::-1])))  # type: ignore[arg-type]


def png_rows(data: bytes, rng: random.Random) -> bytes:
    """Change what the compressed stream holds: too little, too much, wrong filters."""
    chunks = _chunks(data)
    rows = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    rows = rng.choice((rows[: rng.randrange(len(rows))], rows * 2, rng.choice(ANY)(rows, rng)))
    head = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    return _png([*head, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


PNG: Changes = {False: ANY, True: [png_header, png_chunk, png_order, png_rows]}

# -- JPEG


def _segments(data: bytes) -> list[bytes]:
    """Return the segments up to the scan, and the rest as the last one."""
    segments, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at:stop])
        at = stop
    return [*segments, data[at:]]


def jpeg_order(data: bytes, rng: random.Random) -> bytes:
    first, *segments = _segments(data)
    return first + b"".join(_shuffle(segments, rng))


def jpeg_field(data: bytes, rng: random.Random) -> bytes:
    """Change a field of a segment: its length, or a byte or number behind it."""
    segments = _segments(data)
    at = rng.randrange(1, len(segments))
    fields = [(2, ">H"), *((i, kind) for i in range(4, 24) for kind in (">H", "B"))]
    segments[at] = change_field(segments[at], rng, fields)
    return b"".join(segments)


def jpeg_scan(data: bytes, rng: random.Random) -> bytes:
    """Cut the scan and put the end marker on."""
    *segments, scan = _segments(data)
    return b"".join(segments) + scan[: rng.randrange(12, len(scan))] + b"\xff\xd9"


JPEG: Changes = {False: [*ANY, jpeg_order, jpeg_field, jpeg_field, jpeg_scan], True: []}

# -- DICOM

_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD", b"OL", b"UC", b"UR", b"SV", b"UV")
_VALUES = (
    *(b"", b"1e300", b"nan", b"-1", b"0", b"9" * 64, b"1\\2\\3", b"\\\\", b"x" * 40, b"\0\0"),
    *(b"MONOCHROME1", b"RGB", b"YBR_FULL_422", b"PALETTE COLOR", b"1.2.840.10008.1.2.2", b"\xff"),
)


def _elements(data: bytes, at: int, implicit: bool = False) -> list[tuple[int, str, int, int]]:
    """Return (place of the length, its format, start, stop of the value) of flat elements."""
    found = []
    while at + 8 <= len(data):
        group, kind = data[at : at + 2], data[at + 4 : at + 6]
        if implicit and group != b"\x02\x00":
            length_at, form = at + 4, "<I"
        elif kind in _LONG:
            length_at, form = at + 8, "<I"
        else:
            length_at, form = at + 6, "<H"
        start = length_at + struct.calcsize(form)
        if start > len(data):
            break
        (length,) = struct.unpack_from(form, data, length_at)
        stop = min(len(data), start + length)
        found.append((length_at, form, start, stop))
        at = stop
    return found


def _dicom(implicit: bool = False, at: int = 132) -> list[Change]:
    def dicom_number(data: bytes, rng: random.Random) -> bytes:
        fields = []
        for length_at, form, start, stop in _elements(data, at, implicit):
            fields.append((length_at, form))
            if stop - start == 2:
                fields += 3 * [(start, "<H")]  # rows, columns, bits
        return change_field(data, rng, fields)

    def dicom_value(data: bytes, rng: random.Random) -> bytes:
        elements = [e for e in _elements(data, at, implicit) if e[3] - e[2] < 100]
        if not elements:
            return data
        length_at, form, _, stop = rng.choice(elements)
        value = rng.choice(_VALUES)
        value += b" " * (len(value) % 2)
        return data[:length_at] + struct.pack(form, len(value)) + value + data[stop:]

    def dicom_order(data: bytes, rng: random.Random) -> bytes:
        stops = [at, *(stop for *_, stop in _elements(data, at, implicit))]
        parts = [data[start:stop] for start, stop in pairwise(stops)]
        return data[:at] + b"".join(_shuffle(parts, rng))

    return [dicom_number, dicom_number, dicom_value, dicom_value, dicom_order]


EXPLICIT: Changes = {False: [*ANY, *_dicom()], True: []}
IMPLICIT: Changes = {False: [*ANY, *_dicom(implicit=True)], True: []}


def _body_at(data: bytes) -> int:
    return 144 + int.from_bytes(data[140:144], "little")  # by the length of group 0002


def _inflated(data: bytes) -> bytes:
    return zlib.decompress(data[_body_at(data) :], -15)


def _deflated(data: bytes, inner: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return data[: _body_at(data)] + compressor.compress(inner) + compressor.flush()


DEFLATED: Changes = {
    False: [*ANY, *3 * [_inside("inflated", [*ANY, *_dicom(at=0)], _inflated, _deflated)]],
    True: [],
}

# -- NIfTI

_NIFTI = [
    *((0, "<i"), (40, "<h"), (70, "<h"), (72, "<h"), (108, "<f"), (112, "<f"), (116, "<f")),
    *((123, "B"), (252, "<h"), (254, "<h"), (344, "<I"), (348, "<I"), (352, "<I"), (356, "<I")),
    *((at, "<h") for at in range(42, 56, 2)),
    *((at, "<f") for at in range(76, 108, 4)),
    *((at, "<f") for at in range(256, 328, 4)),
]
_nifti_field = _fields(lambda _: _NIFTI)
NIFTI: Changes = {False: [*ANY, *6 * [_nifti_field]], True: []}
_inner = _inside(
    "unzipped",
    [*ANY, *6 * [_nifti_field]],
    gzip.decompress,
    lambda _, inner: gzip.compress(inner, 1, mtime=0),
)
NIFTI_GZ: Changes = {False: ANY, True: [_inner]}

# -- NumPy, PXM, safetensors: a text in front of data

_SHAPES = (
    *("()", "(True, True, True)", f"({10**28}, 1, 1)", "(-1, 4, 4)", "(0, 4, 4)", "('a',)", "(4,)"),
    *("(166, 2147483647, 2147483647)", "(166.0, 4, 4)", "None", "(166, 4, 4)", "[166, 4, 4]"),
)
_KINDS = (
    "'|O'",
    "'<f8'",
    "'<f4'",
    "'|u1'",
    "'|S1'",
    "'<U1'",
    "'<M8[s]'",
    "[('a', '<i4')]",
    "'|V8'",
)


def npy_header(data: bytes, rng: random.Random) -> bytes:
    """Replace shape, type or order in the header; its length stays right."""
    length = int.from_bytes(data[8:10], "little")
    text = data[10 : 10 + length].decode("latin-1")
    start, stop = text.index("(", text.index("'shape'")), text.rindex(")") + 1
    shape, kind = text[start:stop], "'|b1'"
    new = text.replace(shape, rng.choice(_SHAPES)) if rng.random() < 0.5 else text
    new = new.replace(kind, rng.choice(_KINDS)) if rng.random() < 0.5 else new
    new = new.replace("False", rng.choice(("True", "1", "[" * 300))) if rng.random() < 0.3 else new
    new = rng.choice(TEXT)(new.encode(), rng).decode("latin-1") if new == text else new
    head = new.encode("latin-1", "replace")[:65535]
    return data[:8] + struct.pack("<H", len(head)) + head + data[10 + length :]


NPY: Changes = {False: [*ANY, *6 * [npy_header]], True: []}


def _pxm(data: bytes, head: bytes, body: bytes) -> bytes:
    content = struct.pack("<8sHI", b"PAXMASK\n", data[8], len(head)) + head + body
    return content + struct.pack("<I", zlib.crc32(content))


def pxm_header(data: bytes, rng: random.Random) -> bytes:
    stop = 14 + int.from_bytes(data[10:14], "little")
    return _pxm(data, rng.choice(TEXT)(data[14:stop], rng), data[stop:-4])


def pxm_body(data: bytes, rng: random.Random) -> bytes:
    stop = 14 + int.from_bytes(data[10:14], "little")
    body = rng.choice(ANY)(data[stop:-4], rng)
    head = json.loads(data[14:stop]) | {"body_bytes": len(body)}
    return _pxm(data, json.dumps(head, separators=(",", ":")).encode(), body)


def pxm_version(data: bytes, rng: random.Random) -> bytes:
    content = change_field(data[:-4], rng, [(8, "<H"), (10, "<I")])
    return content + struct.pack("<I", zlib.crc32(content))


PXM: Changes = {False: ANY, True: [pxm_header, pxm_header, pxm_body, pxm_body, pxm_version]}


def safetensors_header(data: bytes, rng: random.Random) -> bytes:
    stop = 8 + int.from_bytes(data[:8], "little")
    head = rng.choice(TEXT)(data[8:stop], rng)
    return struct.pack("<Q", len(head)) + head + data[stop:]


SAFETENSORS: Changes = {False: [*ANY, *6 * [safetensors_header]], True: []}

# -- zip

_FIELDS = {  # of local headers, the directory, its end, and its end of 64 bits
    b"PK\x03\x04": (
        *((at, "<H") for at in (4, 6, 8, 26, 28)),
        *((at, "<I") for at in (14, 18, 22)),
    ),
    b"PK\x01\x02": (
        *((at, "<H") for at in (6, 8, 10, 28, 30, 32, 34)),
        *((at, "<I") for at in (16, 20, 24, 38, 42)),
    ),
    b"PK\x05\x06": (*((at, "<H") for at in (4, 6, 8, 10, 20)), (12, "<I"), (16, "<I")),
    b"PK\x06\x06": tuple((at, "<Q") for at in (4, 24, 32, 40, 48)),
}


def zip_field(data: bytes, rng: random.Random) -> bytes:
    fields = []
    for signature, own in _FIELDS.items():
        at = data.find(signature)
        while at >= 0:
            fields += [(at + offset, kind) for offset, kind in own]
            at = data.find(signature, at + 4)
    return change_field(data, rng, fields)


def zip_member(data: bytes, rng: random.Random) -> bytes:
    """Change a byte within the stored content of a member."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [m for m in archive.infolist() if m.compress_size]
    member = rng.choice(members)
    at = member.header_offset
    start = at + 30 + sum(struct.unpack_from("<HH", data, at + 26))
    at = start + rng.randrange(member.compress_size)
    return data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :]


def zip_again(data: bytes, rng: random.Random) -> bytes:
    """Write the archive again, with a member changed, left out, doubled, moved or renamed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(m.filename, archive.read(m)) for m in archive.infolist()]
    method, at = zipfile.ZIP_STORED, rng.randrange(len(members))
    name, content = members[at]
    kind = rng.randrange(6)
    if kind == 0:
        members = _shuffle(members, rng)  # type: ignore[type-var, assignment]
    elif kind == 1:
        slow = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA) if len(data) < 1 << 20 else ()
        method = rng.choice((zipfile.ZIP_DEFLATED, *slow))
    elif kind == 2:
        new = rng.choice(
            (name.upper(), "../" + name, "/" + name, "x/" + name, name + "/", "a\\b", "")
        )
        members[at] = new, content
    else:
        is_text = name.endswith((".json", "version"))
        members[at] = name, rng.choice(TEXT if is_text else ANY)(content, rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method, compresslevel=1)
    return file.getvalue()


ZIP: Changes = {False: [*ANY, *4 * [zip_field], *4 * [zip_member]], True: [zip_again]}


def signed(data: bytes, rng: random.Random) -> bytes:
    """Change a value in a checkpoint of ours, and its digests, as who means harm does."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    holder, key = content, rng.choice(("config", "labels", "preprocessing", "model"))
    while isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    value = holder[key]
    if isinstance(value, torch.Tensor) and rng.random() < 0.5:
        holder[key] = rng.choice((value.double(), value[None], value * float("nan")))
    elif isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    else:
        nested: list = []
        for _ in range(rng.choice((3, 200))):
            nested = [nested]
        holder[key] = rng.choice((*_PYTHON_VALUES, nested, [value] * 20_000, {"a": value}))
    for name in content["digests"].keys() & content.keys():
        with contextlib.suppress(RecursionError):
            content["digests"][name] = digest(content[name])
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


_PYTHON_VALUES = (
    *(None, True, -1, 0, 1, 2, 3, 10**9, 2**63, 10**30, 0.5, 1e30, float("nan"), float("inf")),
    *("", "../x", "x" * 100_000, "unet", "paxray_unet", "tu-resnet200d", b"x", torch.tensor(5)),
    *(
        (),
        [],
        {},
        [[]],
        torch.Size((3, -1)),
        "a\nb",
        "\0",
        "standard",
        "published",
        [60_000, 60_000],
    ),
)
SIGNED: Changes = {False: [signed], True: []}

PLAIN: Changes = {False: ANY, True: []}
JSON: Changes = {False: [*ANY, *3 * TEXT], True: []}
