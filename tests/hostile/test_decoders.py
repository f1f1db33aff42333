"""Compressed DICOM images that end their decoder."""

import pydicom
from helpers.hostile import cases
from helpers.xrays import transcode, write_xray
from pydicom.encaps import encapsulate, get_frame


def among_good(old, new):
    """Return what makes a sound X-ray, and two with a change of the compressed frame."""

    def make(here):
        (here / "in").mkdir()
        plain = write_xray(here / "plain.dcm", (30, 40))
        sound = transcode(plain, here / "in" / "good.dcm", "JPEGLosslessProcess14_1")
        dataset = pydicom.dcmread(sound)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        dataset.PixelData = encapsulate([frame.replace(old, new, 1)])
        for name in ("a.dcm", "z.dcm"):
            dataset.save_as(here / "in" / name)

    return make


PREDICT = "predict --images {here}/in --out {here}/out --weights {weights}"


@cases(
    (
        "lossless JPEG that ends GDCM by an uncaught exception",
        among_good(b"\xff\xda", b"abc\xff\xda"),
        *(PREDICT, 1, r"a\.dcm.*z\.dcm.*1 ok, 0 skipped, 2 failed"),
    ),
    (
        "lossless JPEG of 255 bits a pixel, for which GDCM writes where it may not",
        among_good(b"\xff\xc3\0\x0b\x10", b"\xff\xc3\0\x0b\xff"),
        *(PREDICT, 1, r"a\.dcm.*z\.dcm.*1 ok, 0 skipped, 2 failed"),
    ),
)
def test_decoders_that_die(case, hostile):
    hostile(case)
