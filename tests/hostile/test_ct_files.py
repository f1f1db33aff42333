"""CTs that are damaged or cut, compressed, or no files at all."""

import gzip
import os

import numpy as np
from helpers.hostile import cases
from helpers.nifti_files import (
    DIM,
    DONE,
    FAILED,
    FOLDER,
    PROJECT,
    changed,
    packed,
    write_good,
)


def damaged_at(part):
    """Return a change of one byte, at a part of the length."""

    def change(content):
        content = bytearray(content)
        content[int(part * len(content))] ^= 0x10
        return bytes(content)

    return change


def split_in(content):
    """Return gzip of two members."""
    content = gzip.decompress(content)
    return packed(content[:100_000]) + packed(content[100_000:])


PACKED = PROJECT.replace(".nii", ".nii.gz")


def bad_gzip(words=""):
    return PACKED, 1, rf"failed: p1: \S+p1_ct\.nii\.gz: .*{words}.*{FAILED}"


@cases(
    ("gzip of a good file", changed(bytes, suffix=".nii.gz"), PACKED, 0, DONE),
    ("gzip of two members", changed(split_in, suffix=".nii.gz"), PACKED, 0, DONE),
    ("zeros behind gzip", changed(lambda c: c + bytes(512), suffix=".nii.gz"), PACKED, 0, DONE),
    ("gzip named .nii", changed(packed, "ct", "seg"), PROJECT, 0, DONE),
    (
        "no gzip, named .nii.gz",
        changed(gzip.decompress, "ct", "seg", suffix=".nii.gz"),
        *(PACKED, 0, DONE),
    ),
    (
        "a good file, and one more member",
        changed(lambda c: c + packed(b"more"), suffix=".nii.gz"),
        *bad_gzip("goes on behind the voxels"),
    ),
    (
        "garbage behind gzip",
        changed(lambda c: c + b"garbage", suffix=".nii.gz"),
        *bad_gzip("damaged or cut short"),
    ),
    ("cut", changed(lambda c: c[:-9], suffix=".nii.gz"), *bad_gzip("damaged or cut short")),
    ("cut checksum", changed(lambda c: c[:-3], suffix=".nii.gz"), *bad_gzip("cut short")),
    ("cut in half", changed(lambda c: c[: len(c) // 2], suffix=".nii.gz"), *bad_gzip()),
    ("a wrong checksum", changed(damaged_at(1 - 1e-6), suffix=".nii.gz"), *bad_gzip()),
    ("a changed byte", changed(damaged_at(0.5), suffix=".nii.gz"), *bad_gzip()),
    ("a changed byte near the end", changed(damaged_at(0.99), suffix=".nii.gz"), *bad_gzip()),
    (
        "200 MB in 200 kB behind the voxels",
        changed(lambda c: packed(gzip.decompress(c) + bytes(200 << 20)), suffix=".nii.gz"),
        *bad_gzip("goes on behind the voxels"),
    ),
    (
        "a header that claims 2 GB in 1 kB",
        changed(
            lambda c: packed(
                gzip.decompress(c)[:DIM]
                + np.array([3, 1024, 1024, 1024], "<i2").tobytes()
                + gzip.decompress(c)[DIM + 8 : 352]
            ),
            suffix=".nii.gz",
        ),
        *bad_gzip("can hold .* bytes of 2,147,483,648"),
    ),
)
def test_compressed_files(case, hostile):
    hostile(case)


def instead(write, name="p1_ct.nii"):
    """Return what writes the good files, one of them replaced by `write(path)`."""

    def make(here):
        write_good(here)
        path = here / "in" / name
        path.unlink(missing_ok=True)
        write(path)

    return make


@cases(
    ("a pipe", instead(os.mkfifo), PROJECT, 2, r"p1_ct\.nii: a named pipe"),
    ("a folder", instead(os.mkdir), PROJECT, 2, r"p1_ct\.nii: no .nii or .nii.gz file|one too"),
    ("a device", instead(lambda p: p.symlink_to("/dev/zero")), PROJECT, 2, r"p1_ct\.nii: a device"),
    ("a link to itself", instead(lambda p: p.symlink_to(p)), PROJECT, 2, r"p1_ct\.nii"),
    ("a link to nowhere", instead(lambda p: p.symlink_to("x")), PROJECT, 2, "no such file"),
    ("a pipe in a folder", instead(os.mkfifo), FOLDER, 1, r"p1_ct\.nii: a named pipe"),
    ("a folder in a folder", instead(os.mkdir), FOLDER, 1, r"p1_ct\.nii: a folder"),
    (
        "a device in a folder",
        instead(lambda path: path.symlink_to("/dev/zero")),
        *(FOLDER, 1, r"p1_ct\.nii: a device"),
    ),
    ("a link to itself in a folder", instead(lambda p: p.symlink_to(p)), FOLDER, 1, r"p1_ct\.nii"),
    ("a pipe as segmentation", instead(os.mkfifo, "p1_seg.nii"), PROJECT, 2, "a named pipe"),
    (
        "a pipe as table of names",
        instead(os.mkfifo, "p1_seg_labels.tsv"),
        *(PROJECT, 1, r"p1_seg_labels\.tsv: a named pipe"),
    ),
)
def test_what_is_no_file(case, hostile):
    hostile(case)
