"""CTs whose header cannot be true: where voxels lie, what they are, where they begin."""

import numpy as np
from helpers.hostile import cases
from helpers.nifti_files import (
    DATATYPE,
    DIM,
    DONE,
    EXTENSION,
    MAGIC,
    PIXDIM,
    PROJECT,
    QFORM_CODE,
    QOFFSET_X,
    SFORM_CODE,
    SROW_X,
    VOX_OFFSET,
    XYZT_UNITS,
    bad_ct,
    changed,
    placed,
    poked,
    scaled,
)


def turned(degrees, skew=0.0):
    """Return a change of an affine that turns the volume about z, or tilts its slices."""
    angle, matrix = np.radians(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[1, 2] = np.tan(np.radians(skew))
    return lambda affine: matrix @ affine


def with_row(values):
    """Return a change of an affine that has another first row."""
    return lambda affine: np.vstack([values, affine[1:]])


@cases(
    ("in micrometres", scaled(1000, 1000, 1000), *bad_ct("voxels of 3000 x 4000 x 5000 mm")),
    ("in metres", scaled(1e-3, 1e-3, 1e-3), *bad_ct("in millimetres")),
    ("in centimetres", scaled(0.1, 0.1, 0.1), *bad_ct("field of view of 24 x 19.2 x 25 mm")),
    ("one axis x 300", scaled(1, 1, 300), *bad_ct("voxels of 3 x 4 x 1500 mm")),
    ("one axis / 10", scaled(1, 1, 0.1), *bad_ct("field of view of 240 x 192 x 25 mm")),
    ("one axis x 4", scaled(1, 1, 4), *bad_ct("lungs are 520 x 100 x .* those of people")),
    ("one axis / 4", scaled(1, 0.25, 1), *bad_ct("field of view of 240 x 48 x 250 mm")),
    ("zero", poked((SROW_X, "12f", *[0] * 12)), *bad_ct("spans no volume")),
    ("singular", poked((SROW_X, "4f", 0, 0, 0, 0)), *bad_ct("spans no volume")),
    ("NaN", poked((SROW_X, "f", np.nan)), *bad_ct("")),
    ("infinite", poked((SROW_X, "f", np.inf)), *bad_ct("")),
    ("of 1e38", poked((SROW_X, "f", 1e38)), *bad_ct("spans no volume")),
    (
        "of one axis in the sform alone",
        poked((SROW_X, "f", 3.3)),
        *bad_ct("contradicts itself.*pixd"),
    ),
    (
        "of one axis in pixdim alone",
        poked((PIXDIM + 12, "f", 2.5)),
        *bad_ct("pixdim voxels have 3 x 4 x 2.5 mm"),
    ),
    (
        "sform and qform that agree",
        poked((QFORM_CODE, "h", 1)),
        *(PROJECT, 0, DONE),
    ),
    (
        "sform and qform that disagree",
        poked((QFORM_CODE, "h", 1), (QOFFSET_X, "f", -130)),
        *bad_ct("sform and qform put voxels up to 7.0 mm apart"),
    ),
    ("of no number in pixdim", poked((PIXDIM + 4, "f", np.inf)), *bad_ct("pixdim voxels have inf")),
    ("unit micrometre", poked((XYZT_UNITS, "b", 3)), *bad_ct("unit of length has the code 3")),
    ("unit unknown to NIfTI", poked((XYZT_UNITS, "b", 7)), *bad_ct("unit of length")),
    ("none", poked((QFORM_CODE, "2h", 0, 0)), *bad_ct("no affine")),
    ("of an unknown kind", poked((SFORM_CODE, "h", 99)), *bad_ct("sform_code 99 not valid")),
    ("a length of 0", poked((PIXDIM + 4, "f", 0)), *bad_ct("pixdim")),
    ("a negative length", poked((PIXDIM + 4, "f", -3)), *bad_ct("pixdim")),
    ("oblique", placed(turned(20)), *bad_ct("20 degrees oblique")),
    ("sheared", placed(turned(0, skew=10)), *bad_ct("10 degrees from a right angle")),
    (
        "mirrored",
        placed(lambda affine: np.diag([-1, 1, 1, 1]) @ affine, "ct", "seg"),
        *bad_ct("segmented as right lies to the left"),
    ),
)
def test_affines(case, hostile):
    hostile(case)


@cases(
    ("cut .nii", changed(lambda c: c[:-1000]), *bad_ct("can hold 383,352 bytes of 384,000")),
    ("cut in its header", changed(lambda c: c[:200]), *bad_ct("not readable as NIfTI")),
    ("empty", changed(lambda c: b""), *bad_ct("does not begin with a header")),
    ("text", changed(lambda c: b"x" * 400_000), *bad_ct("does not begin with a header")),
    ("more behind the voxels", changed(lambda c: c + b"x"), *bad_ct("goes on behind the voxels")),
    ("fewer slices than the file", poked((DIM + 6, "h", 49)), *bad_ct("goes on behind")),
    ("more slices than the file", poked((DIM + 6, "h", 51)), *bad_ct("damaged or cut short")),
    ("30000^3 voxels", poked((DIM + 2, "3h", *[30000] * 3)), *bad_ct("claims .* more than 1,073")),
    ("a dimension of 0", poked((DIM + 4, "h", 0)), *bad_ct("three dimensions")),
    ("a negative dimension", poked((DIM + 4, "h", -5)), *bad_ct("")),
    ("no dimensions", poked((DIM, "h", 0)), *bad_ct("")),
    ("two dimensions", poked((DIM, "h", 2)), *bad_ct("three dimensions")),
    ("seven dimensions", poked((DIM, "8h", 7, 40, 48, 50, 1, 1, 1, 2)), *bad_ct("three dim")),
    ("an unknown type", poked((DATATYPE, "h", 3313)), *bad_ct("not readable as NIfTI")),
    ("colors", poked((DATATYPE, "2h", 128, 24)), *bad_ct("such as colors")),
    ("complex numbers", poked((DATATYPE, "2h", 32, 64)), *bad_ct("one real number each")),
    ("wider numbers than the file", poked((DATATYPE, "2h", 64, 64)), *bad_ct("can hold")),
    ("voxels behind the end", poked((VOX_OFFSET, "f", 1e6)), *bad_ct("")),
    ("voxels at byte 1e30", poked((VOX_OFFSET, "f", 1e30)), *bad_ct("voxels begin at byte 1")),
    ("voxels in the header", poked((VOX_OFFSET, "f", 0)), *bad_ct("voxels begin at byte 0")),
    ("voxels at no number", poked((VOX_OFFSET, "f", np.nan)), *bad_ct("not readable as NIfTI")),
    ("a pair's header", poked((MAGIC, "4s", b"ni1")), *bad_ct("a pair of .hdr and .img")),
    ("not its magic word", poked((MAGIC, "4s", b"n+7")), *bad_ct("not begin with a header")),
    (
        "an extension that is longer than its place",
        poked((VOX_OFFSET, "f", 368), (EXTENSION, "B3x2i", 1, 1 << 30, 4)),
        *bad_ct("extension content"),
    ),
    (
        "an extension of length 0",
        poked((VOX_OFFSET, "f", 368), (EXTENSION, "B3x2i", 1, 0, 4)),
        *bad_ct("extension content"),
    ),
    (
        "an extension of negative length",
        poked((VOX_OFFSET, "f", 368), (EXTENSION, "B3x2i", 1, -16, 4)),
        *bad_ct("extension content"),
    ),
    (
        "an extension of odd length",
        poked((VOX_OFFSET, "f", 368), (EXTENSION, "B3x2i", 1, 9, 4)),
        *bad_ct("multiple of 16"),
    ),
)
def test_raw_files(case, hostile):
    hostile(case)
