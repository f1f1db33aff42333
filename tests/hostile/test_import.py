"""Imports: sources that lie, lead out, are cut short or too large."""

import os
import struct
import zlib

import numpy as np
from helpers.hostile import cases
from PIL import Image

MASKS = "import masks --images {here}/images --mask heart={here}/heart --split test --out {here}/o"


def picture(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(*size, dtype=np.uint8) * 255).save(path)


def masks(change):
    """Return what makes two images with masks, then changes them."""

    def make(here):
        for name in ("a", "b"):
            picture(here / f"images/{name}.png")
            picture(here / f"heart/{name}.png")
        change(here)

    return make


def huge_png(path, side=1 << 20):
    """Write a PNG that claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b""))
    sums = (struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    parts = [
        struct.pack(">I", len(body)) + name + body + checksum
        for (name, body), checksum in zip(chunks, sums, strict=True)
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def table(text):
    return masks(lambda here: (here / "s.csv").write_bytes(text))


WITH_TABLE = MASKS.replace("--split test", "--splits {here}/s.csv")


@cases(
    (
        "a mask that claims a terapixel",
        masks(lambda here: huge_png(here / "heart/a.png")),
        *(MASKS, 1, r"a\.png: 1048576 x 1048576.*1 imported, 0 skipped, 1 failed"),
    ),
    (
        "a GIF that claims 65535 x 65535",
        masks(
            lambda here: (
                (here / "heart/a.png").unlink(),
                (here / "heart/a.gif").write_bytes(b"GIF89a\xff\xff\xff\xff\0\0\0;"),
            )
        ),
        *(MASKS, 1, r"a\.gif: .*1 imported, 0 skipped, 1 failed"),
    ),
    (
        "an empty mask",
        masks(lambda here: (here / "heart/a.png").write_bytes(b"")),
        *(MASKS, 1, r"a\.png: the file is empty"),
    ),
    (
        "a pipe for a mask",
        masks(lambda here: ((here / "heart/a.png").unlink(), os.mkfifo(here / "heart/a.png"))),
        *(MASKS, 1, r"a\.png: a named pipe"),
    ),
    (
        "a text for a mask",
        masks(lambda here: (here / "heart/a.png").write_text("mask")),
        *(MASKS, 1, r"a\.png: masks are PNG, JPEG or GIF"),
    ),
    (
        "an image whose name is not UTF-8",
        masks(
            lambda here: [
                os.rename(here / f"{d}/a.png", os.fsencode(here / d) + b"/\xff.png")
                for d in ("images", "heart")
            ]
        ),
        *(MASKS, 1, r"1 imported, 0 skipped, 1 failed"),
    ),
    (
        "an output folder that leads away",
        masks(
            lambda here: (
                (here / "o").mkdir(),
                (here / "away").mkdir(),
                (here / "o/images").symlink_to("../away"),
            )
        ),
        *(MASKS, 1, r"leads outside.*0 imported, 0 skipped, 2 failed"),
    ),
    (
        "a label without a name",
        masks(lambda _: None),
        *(MASKS.replace("heart=", "="), 2, "must be NAME=DIR"),
    ),
    ("a label of spaces", masks(lambda _: None), MASKS.replace("heart=", "' ='"), 2, "label names"),
    (
        "a folder that is missing",
        masks(lambda _: None),
        *(MASKS.replace("{here}/heart", "{here}/hart"), 2, "hart: no such folder"),
    ),
    (
        "an unknown label that is known",
        masks(lambda _: None),
        *(f"{MASKS} --known hart", 2, "'hart'.*'heart'"),
    ),
    ("an empty table", table(b""), WITH_TABLE, 2, r"s\.csv: .*empty"),
    ("a table of bytes", table(b"\xff\0\xfe"), WITH_TABLE, 2, r"s\.csv: not a readable table"),
    ("a table of other columns", table(b"a,b\n1,2\n"), WITH_TABLE, 2, r"row 2 has no id"),
    ("an unknown split", table(b"id,split\na,trian\n"), WITH_TABLE, 2, r"row 2: split 'trian'"),
    ("two splits", table(b"id,split\na,val\na.png,test\n"), WITH_TABLE, 2, r"row 3: 'a' is in two"),
    (
        "a field of a megabyte",
        table(b"id,split\n" + b"a" * (1 << 20) + b",val\n"),
        *(WITH_TABLE, 2, r"s\.csv: not a readable table .field larger"),
    ),
)
def test_masks(case, hostile):
    hostile(case)
