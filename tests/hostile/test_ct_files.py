"""CTs that are damaged or cut, compressed, or no files at all."""

import gzip
import os

import nibabel
import numpy as np
from helpers.chestdata import SPACING, stored
from helpers.hostile import cases
from helpers.nifti_files import (
    DIM,
    DONE,
    FAILED,
    FOLDER,
    PROJECT,
    changed,
    make_chest,
    packed,
    write_good,
)

from paxray_lib.ct.structures import STRUCTURES


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


def resaved(change):
    """Return what writes the good files, each saved anew as the image `change(image)`."""

    def make(here):
        for path in write_good(here).values():
            nibabel.save(change(nibabel.load(path, mmap=False)), path)

    return make


def big_endian(image):
    header = image.header.as_byteswapped(">")
    return nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, header)


def in_four_dimensions(image):
    return nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine)


def by_its_qform(image):
    image.header.set_qform(image.affine, 1)
    image.header.set_sform(None, 0)
    return nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><Label Key="1">&b;</Label>'


def with_extension(code, content):
    def change(image):
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, content))
        return image

    return resaved(change)


@cases(
    ("NIfTI-2", resaved(nibabel.Nifti2Image.from_image), PROJECT, 0, DONE),
    ("big-endian", resaved(big_endian), PROJECT, 0, DONE),
    ("four dimensions, one volume", resaved(in_four_dimensions), PROJECT, 0, DONE),
    ("a qform alone", resaved(by_its_qform), PROJECT, 0, DONE),
    ("an extension of text", with_extension(6, b"a comment"), PROJECT, 0, DONE),
    ("an extension of XML that grows", with_extension(4, LAUGHS), PROJECT, 1, "none of its values"),
)
def test_rare_but_true(case, hostile):
    hostile(case)


def masks(change=lambda folder: None):
    """Return what writes a good CT and a folder of masks, and calls `change` with the folder."""

    def make(here):
        write_good(here)
        folder = here / "in/masks"
        folder.mkdir()
        chest = make_chest()
        for code in np.unique(chest.structures[chest.structures > 0]).tolist():
            mask = stored((chest.structures == code).astype(np.uint8), SPACING, "RAS")
            nibabel.save(mask, folder / f"{STRUCTURES[code - 1].name}.nii")
        change(folder)

    return make


MASKS = PROJECT.replace("p1_seg.nii", "masks")


def one_mask(change):
    return masks(lambda folder: change(folder / "heart.nii"))


def as_255(path):
    mask = nibabel.load(path, mmap=False)
    nibabel.save(nibabel.Nifti1Image(np.asarray(mask.dataobj) * 255, mask.affine), path)


def by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


@cases(
    ("that are good", masks(), MASKS, 0, DONE),
    ("one cut", one_mask(lambda p: os.truncate(p, 9000)), MASKS, 1, r"heart\.nii: .*cut short"),
    ("one of 0 and 255", one_mask(as_255), MASKS, 1, r"heart\.nii: values from 0 to 255; a folder"),
    ("one a pipe", one_mask(by_a_pipe), MASKS, 1, r"heart\.nii: a named pipe"),
    (
        "one twice",
        one_mask(lambda path: path.with_name("heart.nii.gz").write_bytes(path.read_bytes())),
        *(MASKS, 1, r"heart stands for both 'heart\.nii' and 'heart\.nii\.gz'"),
    ),
    (
        "one hidden and damaged",
        one_mask(lambda path: path.with_name("._heart.nii").write_bytes(b"x")),
        *(MASKS, 0, DONE),
    ),
    (
        "one of an unknown name",
        one_mask(lambda path: path.rename(path.with_name("hart.nii"))),
        *(MASKS, 0, f"unknown name: 'hart'; did you mean 'heart'.*{DONE}"),
    ),
    ("none", masks(lambda folder: [p.unlink() for p in folder.iterdir()]), MASKS, 1, "no file has"),
)
def test_folders_of_masks(case, hostile):
    hostile(case)
