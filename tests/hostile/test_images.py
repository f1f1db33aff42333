"""Images that are damaged, lie, or take all memory; and folders of what is no image."""

import json
import os
import pickle
import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from helpers.hostile import Case, cases, run_case
from helpers.imagefiles import (
    GRAY,
    PNG,
    SMOOTH,
    bomb,
    chunk,
    dicom,
    element,
    encoded,
    items,
    jpeg_sized,
    nested,
    png,
    scans,
    zeroed,
)
from helpers.xrays import transcode
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from paxray_lib.images.read import read_image
from paxray_lib.utils import read_table

CHECK = "check --data-root {data}"
VALID = encoded(GRAY, "PNG")
ROWS = b"".join(b"\0" + row.tobytes() for row in GRAY)
JPEG = encoded(SMOOTH, "JPEG", quality=90)
PROGRESSIVE = encoded(SMOOTH, "JPEG", quality=90, progressive=True)
RESTARTS = encoded(SMOOTH, "JPEG", quality=90, restart_marker_rows=1)


def failed(name, words, *contents):
    """Return a row of damaged contents: each is one clear error with these words."""
    return pytest.param(words, contents, id=name)


def read(name, *contents):
    """Return a row of odd contents that are images all the same."""
    return pytest.param("", contents, id=name)


def changed(data, at, value):
    at %= len(data)
    return data[:at] + value + data[at + len(value) :]


def cut(data, part):
    return data[: int(len(data) * part)]


DAMAGED_PNG = "damaged or cut short PNG"


PNGS = [
    failed("PNG: a byte of the samples", DAMAGED_PNG, changed(VALID, 200, b"!")),
    failed("PNG: a byte of a text", DAMAGED_PNG, png(extra=chunk(b"tEXt", b"a\0b")[:-1] + b"?")),
    failed("PNG: cut", DAMAGED_PNG, *(VALID[:length] for length in (8, 20, 40, 900, -20, -1))),
    failed("PNG: rows missing", rf"{DAMAGED_PNG} \(\d+ bytes of samples", png((50, 48))),
    failed("PNG: rows too many", rf"{DAMAGED_PNG} \(its compressed data hold more", png((30, 48))),
    failed("PNG: samples cut", f"{DAMAGED_PNG}.*end early", png(idat=zlib.compress(ROWS)[:-4])),
    failed("PNG: a bomb in the samples", f"{DAMAGED_PNG}.*hold more", png(idat=bomb(300, 15))),
    failed("PNG: 60000 x 60000", "60000 x 60000 pixels, more than", png((60000, 60000))),
    failed("PNG: 9000 x 9000 of 8 bytes", "9000 x .* 256 MiB", png((9000, 9000), 16, 6)),
    failed("PNG: no size", f"{DAMAGED_PNG}.*no PNG is like that", png((0, 48)), png((40, 0))),
    failed(
        "PNG: depths there are not", DAMAGED_PNG, png(depth=3), png(kind=5), png(kind=2, depth=4)
    ),
    failed("PNG: no such filter", f"{DAMAGED_PNG}.*cannot be decoded", png(rows=b"\5" * 49 * 40)),
    failed("PNG: a palette without colors", DAMAGED_PNG, png(kind=3)),
    failed("PNG: lengths", DAMAGED_PNG, *(changed(VALID, 33, n) for n in (b"\xff" * 4, bytes(4)))),
    failed("PNG: no header", f"{DAMAGED_PNG}.*begin with", PNG + chunk(b"IEND", b"")),
    failed(
        "PNG: 100,000 chunks", f"{DAMAGED_PNG}.*chunks", png(extra=chunk(b"abCd", b"") * 100_000)
    ),
    failed(
        "PNG: an animation",
        f"{DAMAGED_PNG}.*2 frames",
        png(extra=chunk(b"acTL", struct.pack(">II", 2, 0))),
    ),
    failed(
        "PNG: a bomb in a text", DAMAGED_PNG, png(extra=chunk(b"zTXt", b"a\0\0" + bomb(300, 15)))
    ),
    read(
        "PNG: what is not looked at",
        png(extra=chunk(b"iCCP", b"a\0\0" + bomb(300, 15))),  # a color profile
        VALID + bytes(1000),
        VALID[:-12] + chunk(b"IDAT", b"more") + VALID[-12:],
    ),
]


DAMAGED_JPEG = "damaged or cut short JPEG"
ENDS = scans(PROGRESSIVE)


JPEGS = [
    failed(
        "JPEG: a third made zero", f"{DAMAGED_JPEG}.*Corrupt", zeroed(JPEG), zeroed(PROGRESSIVE)
    ),
    failed("JPEG: cut", DAMAGED_JPEG, *(cut(JPEG, part) for part in (0.01, 0.2, 0.6, 0.99))),
    failed(
        "JPEG: cut, with an end put on",
        DAMAGED_JPEG,
        *(cut(data, 0.7) + b"\xff\xd9" for data in (JPEG, PROGRESSIVE, RESTARTS)),
    ),
    failed(
        "JPEG: a progressive one without its last scans",
        f"{DAMAGED_JPEG}.*ends before its last scan",
        *(PROGRESSIVE[:end] + b"\xff\xd9" for end in (ENDS[-2], ENDS[2])),
    ),
    failed("JPEG: a header of 9000 x 9000", DAMAGED_JPEG, jpeg_sized(JPEG, 9000, 9000)),
    failed("JPEG: a header of 65500 x 65500", "65500 x 65500", jpeg_sized(JPEG, 65500, 65500)),
    failed(
        "JPEG: a header of fewer rows", f"{DAMAGED_JPEG}.*extraneous", jpeg_sized(JPEG, 90, 240)
    ),
    failed(
        "JPEG: restarts",
        DAMAGED_JPEG,
        RESTARTS.replace(b"\xff\xd3", b"", 1),
        RESTARTS[: RESTARTS.index(b"\xff\xd1")] + RESTARTS[RESTARTS.index(b"\xff\xd2") :],
    ),
    failed(
        "JPEG: 3000 scans",
        f"{DAMAGED_JPEG}.*more than 100 scans",
        PROGRESSIVE[:-2] + PROGRESSIVE[ENDS[-2] : -2] * 3000 + PROGRESSIVE[-2:],
    ),
    failed(
        "JPEG: no image", DAMAGED_JPEG, b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8" * 9000
    ),
    read(
        "JPEG: bytes after the end",
        *(JPEG + after for after in (bytes(1000), b"\xff" * 99, JPEG, os.urandom(99))),
    ),
]


DAMAGED_DICOM = "DICOM that cannot be read"
DEFLATED = uid.DeflatedExplicitVRLittleEndian
TABLE = struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1) + element(
    "LUTDescriptor", b"\2\0\0\0\x60\xea", "US"
)
NUMBERS = {"nan": "nan", "inf": "inf", "-inf": "-inf", "1e308": "1e308"}


DICOMS = [
    failed(
        "DICOM: a deflated bomb", f"{DAMAGED_DICOM}.*hold more", dicom(DEFLATED, bomb(6000, -15))
    ),
    failed("DICOM: deflated, cut", f"{DAMAGED_DICOM}.*early", dicom(DEFLATED, bomb(1, -15)[:-5])),
    failed("DICOM: nested 10,000 deep", DAMAGED_DICOM, dicom(extra=nested(10_000))),
    failed("DICOM: 120,000 items", f"{DAMAGED_DICOM}.*more than", dicom(extra=items(120_000))),
    failed(
        "DICOM: 120,000 elements",
        f"{DAMAGED_DICOM}.*more than",
        dicom(extra=items(1, element("Modality", "") * 120_000)),
    ),
    failed(
        "DICOM: texts of megabytes",
        rf"{DAMAGED_DICOM} \((Window|Pixel|Image|Number).* of \d+ bytes",
        *(
            dicom(extra=element(name, "1" * 9_000_000, "UT"))
            for name in ("WindowWidth", "PixelSpacing", "NumberOfFrames")
        ),
        dicom(WindowCenter="1" * 5000, WindowWidth=1),
        dicom(ImagerPixelSpacing="1\\" * 5000),
    ),
    failed(
        "DICOM: lengths",
        DAMAGED_DICOM,
        dicom(PixelData=None) + element("PixelData", GRAY.tobytes()[:900], length=2**32 - 2),
        dicom(PixelData=None) + element("PixelData", GRAY.tobytes()[:900]),
        dicom(PixelData=b""),
        dicom(extra=element("Modality", "DX", length=60_000)),
        dicom(Rows=41),
    ),
    failed("DICOM: fewer rows than there are", f"{DAMAGED_DICOM}.*claims 960", dicom(Rows=20)),
    failed("DICOM: 60000 x 60000", "60000 x 60000 pixels, more", dicom(Rows=60000, Columns=60000)),
    failed("DICOM: no size", f"{DAMAGED_DICOM}.*Rows", *(dicom(Rows=n) for n in (0, None))),
    failed(
        "DICOM: numbers of bits that cannot be",
        DAMAGED_DICOM,
        dicom(BitsStored=12),
        dicom(BitsStored=0),
        dicom(BitsAllocated=7),
        dicom(BitsAllocated=65535),
        dicom(SamplesPerPixel=2),
        dicom(PixelRepresentation=7),
    ),
    failed(
        "DICOM: frames", f"{DAMAGED_DICOM}.*frames", *(dicom(NumberOfFrames=n) for n in (-1, 9))
    ),
    failed(
        "DICOM: pixels of another kind",
        DAMAGED_DICOM,
        dicom(PixelData=None) + element("PixelData", GRAY.tobytes(), "SQ"),
        dicom(PixelData=None) + element("FloatPixelData", np.full(1920, np.nan, "<f4").tobytes()),
        dicom(PhotometricInterpretation="PALETTE COLOR"),
    ),
    failed(
        "DICOM: values that are no numbers",
        "(pixels of nan|every pixel|DICOM that)",
        *(
            dicom(RescaleSlope=number, RescaleIntercept=0)
            for number in ("nan", "inf", "-inf", "1e400")
        ),
        *(dicom(RescaleSlope=1, RescaleIntercept=number) for number in ("nan", "inf", "1e999")),
        dicom(RescaleSlope=0, RescaleIntercept=0),
    ),
    failed(
        "DICOM: a table of 60,000 bits",
        DAMAGED_DICOM,
        dicom(extra=element("VOILUTSequence", TABLE, "SQ", 2**32 - 1)),
    ),
    failed("not an image: a pickle", "not a PNG, JPEG or DICOM", pickle.dumps([os.getcwd] * 99)),
    failed("not an image: text", "not a PNG, JPEG or DICOM", b"<html>" * 99, b"PK\3\4" + bytes(99)),
    read(
        "DICOM: windows that cannot be",
        *(dicom(WindowCenter=n, WindowWidth=w) for n, w in (("nan", 9), (1, "inf"), (1, -3))),
        dicom(RescaleSlope="1e300", RescaleIntercept="1e300"),
    ),
]


@pytest.mark.parametrize(("words", "contents"), PNGS + JPEGS + DICOMS)
def test_an_image_or_one_clear_error(tmp_path, words, contents):
    for content in contents:
        path = tmp_path / "x.dcm"
        path.write_bytes(content)
        if words:
            with pytest.raises(ValueError, match=rf"(?s)x\.dcm: .*{words}") as caught:
                read_image(path)
            assert len(str(caught.value)) < 400 + len(str(path))
        else:
            pixels = read_image(path).pixels
            assert pixels.ndim == 2
            assert 0 <= pixels.min() < pixels.max() <= 1


def test_one_prediction_of_all_goes_to_its_end(tmp_path, weights):
    (tmp_path / "in").mkdir()
    expected = {}
    for number, row in enumerate(PNGS + JPEGS + DICOMS):
        words, (content, *_) = row.values
        if len(content) < 100_000:  # the others take a second each
            path = tmp_path / "in" / f"{number:02}.dcm"
            path.write_bytes(content)
            expected[str(path)] = "failed" if words else "ok"
    command = "predict --images {here}/in --out {here}/out --weights {weights}"
    case = Case("all", lambda here: None, command, 1, "failed")
    run_case(case, here=tmp_path, weights=weights)
    report = read_table(tmp_path / "out/report.csv")
    assert dict(zip(report["file"], report["status"], strict=True)) == expected


def sized_2000(frame):
    """Return JPEG 2000 with a header of 60000 x 60000."""
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    return changed(frame, at, struct.pack(">II", 60_000, 60_000))


@pytest.mark.parametrize(
    ("syntax", "change", "words"),
    [
        ("JPEGLosslessProcess14_1", zeroed, "Corrupt JPEG data"),
        ("JPEGLosslessProcess14_1", lambda frame: cut(frame, 0.7) + b"\xff\xd9", "Corrupt JPEG"),
        ("JPEGBaselineProcess1", zeroed, "Corrupt JPEG data"),
        ("JPEGBaselineProcess1", lambda frame: jpeg_sized(frame, 9000, 9000), "9000, 9000"),
        ("JPEGLSLossless", zeroed, ""),
        ("JPEG2000Lossless", sized_2000, "60000, 60000"),
        ("JPEG2000Lossless", lambda frame: cut(frame, 0.7), ""),
        ("RLELossless", lambda frame: frame[:64] + b"\x81!" * 30_000, "run lengths of more than"),
        ("RLELossless", lambda frame: cut(frame, 0.7), ""),
        ("RLELossless", lambda frame: frame[:9], ""),
    ],
)
def test_compressed_pixels_are_compared_with_the_header(tmp_path, syntax, change, words):
    noisy = SMOOTH // 2 + np.random.default_rng(0).integers(0, 9, SMOOTH.shape, np.uint8)
    values = {"Rows": 200, "Columns": 240, "PixelData": noisy.tobytes()}
    (tmp_path / "plain.dcm").write_bytes(dicom(**values))
    path = transcode(tmp_path / "plain.dcm", tmp_path / "x.dcm", syntax)
    read_image(path)
    dataset = pydicom.dcmread(path)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([change(frame)])
    dataset.save_as(path)
    with pytest.raises(ValueError, match=rf"x\.dcm: {DAMAGED_DICOM} .*{words}"):
        read_image(path)


@pytest.mark.parametrize(
    "content",
    [dicom(DEFLATED, bomb(6000, -15)), dicom(extra=items(120_000)), png(idat=bomb(999, 15))],
)
def test_memory_is_bounded(tmp_path, content):
    (tmp_path / "x.dcm").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            read_image(tmp_path / "x.dcm")
        assert tracemalloc.get_traced_memory()[1] < 400e6
    finally:
        tracemalloc.stop()


def no_files(here):
    """Make a folder of what is no file, without suffixes, and one good image."""
    folder = here / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(VALID)
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("gone")
    (folder / "below").symlink_to(folder)


@cases(
    (
        "what is no file is a failed item, whatever its name",
        no_files,
        "predict --images {here}/in --out {here}/out --weights {weights}",
        *(
            1,
            r"\A(?>.*?loop)(?>.*?nowhere: no such)(?>.*?pipe: a named)(?>.*?zero: a dev).*1 ok, 0",
        ),
    ),
    (
        "a pipe instead of a folder",
        lambda here: os.mkfifo(here / "in"),
        "predict --images {here}/in --out {here}/out --weights {weights}",
        *(1, r"in: a named pipe.*1 failed"),
    ),
)
def test_folders(case, hostile):
    hostile(case)


def first_image(content):
    """Return what replaces the first image of the tiny data set."""

    def make(here):
        name = json.loads((here / "data/paxray.json").read_text())["train"][0]["image"]
        (here / "data" / name).write_bytes(content)

    return make


def with_spacing(text, size="40 x 48"):
    return png(extra=chunk(b"tEXt", f"paxray:pixel_mm\0{text} at {size}".encode()))


@cases(
    (
        "an image that is NaN",
        first_image(dicom(RescaleSlope="nan", RescaleIntercept=0)),
        CHECK,
        1,
        "pixels of nan",
    ),
    (
        "spacing of 5000 digits",
        first_image(with_spacing("1" * 5000 + ".0")),
        CHECK,
        1,
        "pixels of inf x inf mm in 40 x 48: not an X-ray film",
    ),
    (
        "spacing of 1e300 mm",
        first_image(dicom(PixelSpacing="1e300\\0.2")),
        CHECK,
        1,
        r"PixelSpacing: pixels of 1e\+300 x 0\.2 mm",
    ),
    (
        "spacing of 1e-300 mm",
        first_image(dicom(PixelSpacing="1e-300\\1e-300")),
        CHECK,
        1,
        "PixelSpacing: pixels of 1e-300",
    ),
    (
        "spacing that is NaN",
        first_image(dicom(ImagerPixelSpacing="nan\\inf")),
        CHECK,
        1,
        "ImagerPixelSpacing: pixels of nan",
    ),
    (
        "spacing of a sky",
        first_image(dicom(ImagerPixelSpacing="9\\99")),
        CHECK,
        1,
        "ImagerPixelSpacing: pixels of 9 x 99 mm",
    ),
    (
        "spacing of zero",
        first_image(dicom(PixelSpacing="0\\0")),
        CHECK,
        1,
        "PixelSpacing: pixels of 0 x 0 mm",
    ),
    (
        "spacing below zero",
        first_image(dicom(PixelSpacing="-0.2\\-0.2")),
        CHECK,
        1,
        "PixelSpacing: pixels of -0.2 x -0.2 mm",
    ),
    (
        "a spacing alone",
        first_image(dicom(PixelSpacing="0.2")),
        CHECK,
        1,
        r"\[0\.2\] instead of two",
    ),
)
def test_check_finds(case, hostile):
    hostile(case)


@pytest.mark.parametrize("text", ["1" * 5000 + ".0", "0.000", "99999999.0", "0.001"])
def test_a_spacing_that_no_film_has_is_none(tmp_path, text):
    (tmp_path / "x.png").write_bytes(with_spacing(text))
    image = read_image(tmp_path / "x.png")
    assert image.spacing_mm is None
    assert "not an X-ray film" in image.doubt
