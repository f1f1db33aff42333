"""CTs whose numbers are no Hounsfield units, segmentations of something else, tables of names."""

import os

import numpy as np
from helpers.hostile import cases
from helpers.nifti_files import (
    DONE,
    PROJECT,
    SCL_INTER,
    SCL_SLOPE,
    VOX_OFFSET,
    bad_ct,
    bad_segmentation,
    changed,
    placed,
    poked,
    remade,
    scaled,
    write_good,
)

from paxray_lib.ct.structures import BUILT_IN


def other_units(change):
    return remade(lambda hu, values: (change(hu), values))


def other_values(change):
    return remade(lambda hu, values: (hu, change(values)))


@cases(
    ("0 to 255", other_units(lambda hu: np.uint8(hu // 16 + 64)), *bad_ct("not Hounsfield")),
    ("an offset of 1024", other_units(lambda hu: hu + 1024), *bad_ct("subtract 1024")),
    (
        "an offset of 1024 with padding",
        other_units(lambda hu: np.where(hu < -900, -2000, hu + 1024)),
        *bad_segmentation("where it says lung, p1_ct.nii has a median of 174"),
    ),
    ("air alone", other_units(lambda hu: np.full_like(hu, -1000)), *bad_ct("not Hounsfield")),
    ("one value", other_units(lambda hu: np.zeros_like(hu)), *bad_ct("from 0 to 0 are not")),
    ("negative numbers that wrapped", other_units(np.uint16), *bad_ct("not Hounsfield")),
    ("NaN", other_units(lambda hu: np.where(hu > 0, np.nan, hu)), *bad_ct("NaN")),
    ("infinite", other_units(lambda hu: np.where(hu > 350, np.inf, hu)), *bad_ct("infinity")),
    ("half", poked((SCL_SLOPE, "f", 0.5)), *bad_ct("not Hounsfield units")),
    ("ten times", poked((SCL_SLOPE, "f", 10)), *bad_segmentation("says lung.*median of -1024")),
    ("a slope of 1e30", poked((SCL_SLOPE, "f", 1e30)), *bad_segmentation("median of -1024")),
    ("a slope of 3e38", poked((SCL_SLOPE, "f", 3e38)), *bad_ct("infinity")),
    ("a slope of no number", poked((SCL_SLOPE, "f", np.nan)), *bad_ct("scl_slope nan")),
    ("an infinite intercept", poked((SCL_INTER, "f", np.inf)), *bad_ct("scl_inter inf")),
    ("a slope of 0, which is none", poked((SCL_SLOPE, "f", 0)), PROJECT, 0, DONE),
    ("64-bit integers", other_units(np.int64), PROJECT, 0, DONE),
)
def test_hounsfield_units(case, hostile):
    hostile(case)


@cases(
    (
        "of another place",
        placed(lambda affine: affine + np.eye(4, k=3) * 9, "seg"),
        *bad_segmentation("up to 9.0 mm from where"),
    ),
    ("in micrometres", scaled(1e3, 1e3, 1e3, kinds=["seg"]), *bad_segmentation("its affine puts")),
    (
        "of another shape",
        other_values(lambda seg: seg[:-1]),
        *bad_segmentation("but p1_ct.nii has"),
    ),
    ("mirrored", other_values(lambda seg: seg[:, :, ::-1]), *bad_ct("right lies to the left")),
    ("upside down", other_values(lambda seg: seg[::-1]), *bad_segmentation("where it says")),
    (
        "of another patient",
        other_values(lambda seg: np.roll(seg, (2, 3), (0, 2))),
        *bad_segmentation("where it says bone.*a segmentation of this CT"),
    ),
    (
        "beside the body",
        other_values(lambda seg: np.roll(seg, 24, 1)),
        *bad_segmentation("where it says lung.* has a median of"),
    ),
    (
        "values beyond the table",
        other_values(lambda seg: np.where(seg == 51, 250, seg)),
        *(PROJECT, 0, f"not used, values without a name: 250.*{DONE}"),
    ),
    ("fractions", other_values(lambda seg: seg / 2 + 0.25), *bad_segmentation("holds fractions")),
    ("NaN", other_values(lambda seg: np.where(seg, seg, np.nan)), *bad_segmentation("NaN")),
    ("negative", other_values(lambda seg: -seg.astype(np.int16)), *bad_segmentation("0 to 65535")),
    ("values of 1e30", other_values(lambda seg: seg * 1e30), *bad_segmentation("0 to 65535")),
    (
        "values of 10^18",
        other_values(lambda seg: seg.astype(np.int64) * 10**16),
        *bad_segmentation("0 to 65535"),
    ),
    ("empty", other_values(lambda seg: seg * 0), *bad_segmentation("segmentation is empty")),
    ("one value", other_values(lambda seg: seg * 0 + 51), *bad_segmentation("no lung")),
    (
        "no lung",
        other_values(lambda seg: np.where((seg > 9) & (seg < 15), 0, seg)),
        *bad_segmentation("no lung among its"),
    ),
    (
        "no bone",
        other_values(lambda seg: np.where((seg > 25) & (seg != 51) & (seg != 52), 0, seg)),
        *bad_segmentation("no rib or thoracic vertebra"),
    ),
    (
        "an extension with a value of two names",
        changed(
            lambda content: with_labels(content, '<Label Key="51">a</Label><Label Key="51">heart'),
            "seg",
        ),
        *bad_segmentation("51 stands for both 'a' and 'heart'"),
    ),
    (
        "an extension with a value of 5000 digits",
        changed(lambda content: with_labels(content, f'<Label Key="{"9" * 5000}">heart'), "seg"),
        *bad_segmentation("extension cannot be read"),
    ),
)
def test_segmentations(case, hostile):
    hostile(case)


def with_labels(content, text):
    """Return the bytes of a NIfTI file with an extension of text in it."""
    text = text.encode().ljust(-(len(text) + 8) // 16 * -16 - 8)
    head = bytearray(content[:348])
    head[VOX_OFFSET : VOX_OFFSET + 4] = np.float32(352 + len(text) + 8).tobytes()
    mark = np.array([1, len(text) + 8, 0], "<i4").tobytes()
    return bytes(head) + mark + text + content[352:]


def with_names(content, name="names.json"):
    """Return what writes the good files and a table of names."""

    def make(here):
        write_good(here)
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


JSON, TABLE = (f"{PROJECT} --names {{here}}/names.{suffix}" for suffix in ("json", "csv"))


LOBES = "".join(
    f"{value},{name}\n"
    for value, name in BUILT_IN.items()
    if name.startswith(("rib", "lung_m", "lung_l", "vert"))
)


@cases(
    ("a key twice", with_names('{"labels": {"1": "a", "1": "b"}}'), JSON, 2, "'1' stands twice"),
    ("nesting", with_names('{"labels":' + "[" * 100_000), JSON, 2, "names.json: .*too deeply"),
    ("no labels", with_names("{}"), JSON, 2, "names.json: not a table"),
    ("a list", with_names("[1]"), JSON, 2, "names.json: not a table"),
    ("null", with_names('{"labels": null}'), JSON, 2, "names.json: not a table"),
    (
        "5000 digits",
        with_names(f'{{"labels": {{"{"9" * 5000}": "heart"}}}}'),
        *(JSON, 2, "names.json: not a table"),
    ),
    (
        "a mark of UTF-8",
        with_names(b"\xef\xbb\xbf51,heart\n10,lung_upper_lobe_left", "names.csv"),
        *(TABLE, 1, "no rib or thoracic"),
    ),
    (
        "a mark of UTF-8 in JSON",
        with_names(b'\xef\xbb\xbf{"labels": {"51": "heart"}}'),
        *(JSON, 1, "no lung among"),
    ),
    (
        "UTF-16",
        with_names("51,heart".encode("utf-16"), "names.csv"),
        *(TABLE, 2, "names.csv: not a table"),
    ),
    ("a value twice", with_names("51,a\n51,heart\n", "names.csv"), TABLE, 2, "51 stands for both"),
    (
        "a million rows",
        with_names("51,heart\n" * 10**6, "names.csv"),
        *(TABLE, 2, "names.csv: more than 4 MiB"),
    ),
    ("a digit that is none", with_names("\u00b2,heart", "names.csv"), TABLE, 2, "not a table"),
    (
        "formulas and steering names",
        with_names(f"51,heart\n52,=1+1\n10,\x1b[2J\n{LOBES}", "names.csv"),
        *(TABLE, 0, r"unknown name: '\\x1b\[2J'.*unknown name: '=1\+1'.*1 projected"),
    ),
    (
        "a folder",
        lambda here: (write_good(here), (here / "names.csv").mkdir()),
        *(TABLE, 2, "names.csv: a folder"),
    ),
    (
        "a pipe",
        lambda here: (write_good(here), os.mkfifo(here / "names.csv")),
        *(TABLE, 2, "names.csv: a named pipe"),
    ),
)
def test_tables_of_names(case, hostile):
    hostile(case)
