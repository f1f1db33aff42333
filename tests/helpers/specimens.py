"""Small valid files of each kind that is read, how they are read, and what damages them."""

import argparse
import functools
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pandas as pd
import pydicom
import torch
from helpers import grammars
from helpers.chestdata import make_chest, stored, values_of
from helpers.sampledata import random_evaluation, write_tiny
from helpers.tiny_models import tiny_model
from helpers.xrays import transcode
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from safetensors.torch import save

from paxray_lib.ct.scan import read_scan
from paxray_lib.ct.segmentation import read_names
from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.fetch import unpack
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.images.read import read_image, write_png
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.checkpoints import load_model, read_extra, save_model
from paxray_lib.models.portable import read_portable, save_portable
from paxray_lib.models.weights import read_weights, state_of
from paxray_lib.runs.profiles import read_profile
from paxray_lib.runs.status import read_status
from paxray_lib.training.config import TrainConfig
from paxray_lib.utils import read_table, write_table
from paxray_lib.utils.manifest import Manifest, read_source
from paxray_lib.utils.settings import field_types

SIZE = (40, 52)


@dataclass(frozen=True)
class Specimen:
    """A valid file of one kind.

    Attributes
    ----------
    name : name of the file
    make : writes it to a path
    read : what is read from a path, as something to compare; AssertionError if that cannot be
    changes : that leave checksums alone (False) and that mend them (True)
    checked : every byte that says something is under a checksum: another result is a fault
    digested : no damage that mends checksums may give another result either
    """

    name: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    changes: grammars.Changes
    checked: bool = False
    digested: bool = False


def digest(array: np.ndarray) -> tuple[tuple[int, ...], str, str]:
    """Return shape, type and a hash of the values."""
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return array.shape, str(array.dtype), content


@functools.cache
def picture(dtype: type = np.uint8, channels: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a picture with structure and noise: (H, W), or with channels (H, W, C)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    smooth = np.sin(rows / 9) * np.cos(columns / 7) * 0.3 + 0.5
    shape = (*size, channels) if channels else size
    noise = np.random.default_rng(3).uniform(-0.15, 0.15, shape)
    values = (smooth[..., None] if channels else smooth) + noise
    return (values * np.iinfo(dtype).max).astype(dtype)


# -- images


def read_pixels(path: Path) -> Any:
    image = read_image(path)
    pixels = image.pixels
    assert pixels.ndim == 2, pixels.shape
    assert pixels.dtype == np.float32, pixels.dtype
    assert pixels.min() >= 0, pixels.min()  # false for NaN, too
    assert pixels.max() <= 1, pixels.max()
    assert image.spacing_mm is None or all(0.001 < s < 100 for s in image.spacing_mm), image
    return digest(pixels), image.spacing_mm, image.view


def make_color_png(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(channels=3)).quantize(64).save(path, "PNG", exif=exif, transparency=3)


def make_jpeg(path: Path, **settings: Any) -> None:
    pixels = picture(channels=3 if "subsampling" in settings else 0)
    Image.fromarray(pixels).save(path, "JPEG", quality=85, **settings)


def make_dicom(path: Path, syntax: str) -> None:
    dataset = pydicom.Dataset()
    encoded = syntax == uid.JPEGBaseline8Bit
    bits = 8 if encoded else 12
    values = {
        "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.3.4",
        "Modality": "DX",
        "PatientName": "Doe^Jane",
        "PatientOrientation": ["L", "F"],
        "ViewPosition": "PA",
        "ImagerPixelSpacing": [0.4, 0.3],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": SIZE[0],
        "Columns": SIZE[1],
        "BitsAllocated": 8 if encoded else 16,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "PixelPaddingValue": 0,
        "WindowCenter": 2 ** (bits - 1),
        "WindowWidth": 2**bits * 3 // 4,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    if encoded:
        file = io.BytesIO()
        Image.fromarray(picture()).save(file, "JPEG")
        dataset.PixelData = encapsulate([file.getvalue()])
    else:
        dataset.PixelData = (picture(np.uint16) >> 4).tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


def make_compressed(path: Path, syntax: str) -> None:
    plain = path.with_name("plain.dcm")
    make_dicom(plain, uid.ExplicitVRLittleEndian)
    transcode(plain, path, syntax)


def compressed(name: str, syntax: str) -> Specimen:
    make = functools.partial(make_compressed, syntax=syntax)
    return Specimen(name, make, read_pixels, grammars.EXPLICIT)


def dicom(name: str, syntax: str, changes: grammars.Changes) -> Specimen:
    return Specimen(name, functools.partial(make_dicom, syntax=syntax), read_pixels, changes)


# -- CT


@functools.cache
def volumes() -> tuple[nibabel.Nifti1Image, nibabel.Nifti1Image]:
    """Return a CT and its segmentation, of every second voxel across."""
    scan = make_chest()
    hu, structures = scan.hu[:, ::2, ::2], scan.structures[:, ::2, ::2]
    spacing = (scan.spacing[0], 2 * scan.spacing[1], 2 * scan.spacing[2])
    return stored(hu, spacing, "RAS"), stored(values_of(structures), spacing, "RAS")


def read_ct(path: Path) -> Any:
    """Read a CT with its sound segmentation, or a segmentation with its sound CT."""
    pair = [path.with_name(f"sound_{part}.nii") for part in ("ct", "seg")]
    other = "seg" not in path.name
    nibabel.save(volumes()[other], pair[other])
    pair["seg" in path.name] = path
    scan = read_scan(*pair)
    assert scan.hu.shape == scan.structures.shape
    assert (scan.hu.dtype, scan.structures.dtype) == (np.int16, np.uint8)
    assert scan.hu.min() >= -1024
    assert all(0.01 < size < 100 for size in scan.spacing), scan.spacing
    return digest(scan.hu), digest(scan.structures), scan.spacing


def nifti(name: str, part: int, changes: grammars.Changes, checked: bool = False) -> Specimen:
    def make(path: Path) -> None:
        # through memory, so that the time is not in the header of gzip
        data = volumes()[part].to_bytes()
        is_packed = name.endswith(".gz")
        path.write_bytes(grammars.gzip.compress(data, 6, mtime=0) if is_packed else data)

    return Specimen(name, make, read_ct, changes, checked)


# -- masks


@functools.cache
def masks() -> PackedMasks:
    stack = np.random.default_rng(5).random((len(LABELS), 9, 11)) < 0.3
    stack[:, 2:5] = True
    return PackedMasks.pack(stack, LABELS)


def read_masks(path: Path) -> Any:
    found = PackedMasks.read(path, LABELS)
    assert found.labels == LABELS
    assert found.counts().max() <= found.shape[1] * found.shape[2]
    return digest(found.data)


# -- weights


def make_checkpoint(path: Path) -> None:
    moments = {"step": torch.tensor(3), "moments": [torch.arange(50) / 7]}
    save_model(path, tiny_model(labels=LabelSet(["heart", "aorta"])), epoch=3, optimizer=moments)


def read_checkpoint(path: Path) -> Any:
    model, extra = load_model(path), read_extra(path)
    about = model.config, model.labels.names, model.preprocessing, extra["epoch"]
    optimizer = extra["optimizer"]
    moments = optimizer["step"], *optimizer["moments"]
    state = [*model.state_dict().items(), *enumerate(moments)]
    return str(about), [(name, digest(tensor.numpy())) for name, tensor in state]


def make_portable(path: Path) -> None:
    model = tiny_model(labels=LabelSet(["heart", "aorta"]))
    about = {"sources": [{"name": "a"}], "recipe": [{"epochs": 3}], "scores": {"dice": 0.5}}
    save_portable(path, model, licence="MIT", **about)


def read_given(path: Path) -> Any:
    model, about = load_model(path), read_portable(path)
    assert about is not None, "of another format"
    state = {name: digest(tensor.numpy()) for name, tensor in model.state_dict().items()}
    return str({key: value for key, value in about.items() if key != "model"}), state


@functools.cache
def small_state() -> dict[str, torch.Tensor]:
    """Return what a small network may hold: also numbers of half precision, whole ones, none."""
    numbers = torch.Generator().manual_seed(2)
    return {
        "module.conv.weight": torch.randn(8, 4, 3, 3, generator=numbers),
        "module.conv.bias": torch.randn(8, generator=numbers).half(),
        "module.norm.num_batches_tracked": torch.tensor(7),
    }


def make_published(path: Path, zipped: bool = True) -> None:
    content = {
        "opt": argparse.Namespace(arch="unet", lr=0.001),
        "model": small_state(),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.001}]},
        "epoch": 110,
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def read_state(path: Path) -> Any:
    state = state_of(read_weights(path), path)
    return sorted((name, digest(tensor.numpy())) for name, tensor in state.items())


# -- archives, tables, settings


def make_archive(path: Path) -> None:
    folder = path.with_name("archive")
    write_tiny(folder, size=16)
    files = [*sorted(folder.rglob("*.*"))[:7], folder / "paxray.json"]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            info = zipfile.ZipInfo(f"paxray_dataset/{file.relative_to(folder)}")
            archive.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED)


def unpacked(path: Path) -> Any:
    to = path.with_name("unpacked")
    unpack(path, to)
    files = [file for file in to.rglob("*") if file.is_file()]
    assert (to / "paxray.json") in files
    return sorted((str(file.relative_to(to)), file.read_bytes()) for file in files)


def read_counts(path: Path) -> Any:
    result = Evaluation.read(path.parent)
    arrays = {f"{type(part).__name__}.{name}": values
              for part in (result.counts, result.surface, result.reliability) if part is not None
              for name, values in vars(part).items()}  # fmt: skip
    assert all(isinstance(values, np.ndarray) for values in arrays.values())
    rows = len(result.images)
    assert result.counts.tp.shape == (rows, len(result.labels)), result.counts.tp.shape
    return {name: digest(values) for name, values in arrays.items()}, result.images.to_dict("list")


def make_profile(path: Path) -> None:
    path.write_text(
        "# a training\n"
        "data_root: data/sample\n"
        "encoder: resnet50\n"
        "epochs: 30\n"
        "learning_rate: 5e-3\n"
        "loss: published\n"
        "schedule: onecycle\n"
        "run_dir: 'runs/demo'\n"
    )


def read_settings(path: Path) -> Any:
    settings = read_profile(path, known=field_types(TrainConfig))
    json.dumps(settings)  # plain values
    assert all(isinstance(name, str) for name in settings)
    return repr(sorted(settings.items()))


def make_datafile(path: Path) -> None:
    labels = {str(i): name for i, name in enumerate(["heart", "aorta", "lung_left"])}
    split = [{"image": f"images/{i}frontal.png", "target": f"labels/{i}.npy"} for i in range(3)]
    split[1] |= {"target": None, "case": "7", "view": "lateral"}
    content = {"name": "tiny", "label_dict": labels, "train": split, "val": [], "test": split[:1]}
    path.write_text(json.dumps(content, indent=1))


def read_splits(path: Path) -> Any:
    data = read_datafile(path.parent, path.name)
    for entries in data.splits.values():
        for entry in entries:
            assert isinstance(entry.image, str)
            assert isinstance(entry.case, str)
            assert entry.view in ("frontal", "lateral", None)
    return data.labels.names, sorted(data.splits.items()), repr(data.extra)


def write_outputs(folder: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "a.pxm", "b.pxm", "c.pxm"):
        (folder / name).write_text(name)
        os.utime(folder / name, (1, 1))


def make_manifest(path: Path) -> None:
    write_outputs(path.parent)
    with Manifest(path.parent) as manifest:
        for name in "abc":
            source = path.parent / f"{name}.png"
            manifest.start(f"{name}.pxm", source, read_source(source)[1])


def read_done(path: Path) -> Any:
    """Tell which outputs count as done: after damage fewer may, and none of another image."""
    write_outputs(path.parent)
    with Manifest(path.parent) as manifest:
        done = {(o, s) for o in "abc" for s in "abc"
                if manifest.is_done(f"{o}.pxm", path.parent / f"{s}.png")}  # fmt: skip
    assert done <= {(name, name) for name in "abc"}, done
    return sorted(done)


def make_status(path: Path) -> None:
    steps = [
        {"name": "01_explore", "state": "done", "start": "2026-01-01", "seconds": 60.0},
        {"name": "02_train", "state": "running", "start": "2026-01-01"},
    ]
    run = {"state": "running", "pid": 77, "host": "x", "start": "2026-01-01", "git": ["a"]}
    path.write_text(json.dumps({**run, "data": "d", "steps": steps}, indent=1))


def read_states(path: Path) -> Any:
    status = read_status(path.parent)
    return status["state"], [(step["name"], step["state"]) for step in status["steps"]]


def make_table(path: Path) -> None:
    rows = [("in/a.png", "ok", "", "a.pxm"), ("in/b.png", "failed", 'it says "no", 3', "")]
    write_table(path, pd.DataFrame(rows, columns=["file", "status", "reason", "output"]))


def read_csv(path: Path) -> Any:
    return read_table(path).to_csv()


def make_names(path: Path) -> None:
    path.write_text("value\tname\n51\theart\n52\taorta\n10\tlung_upper_lobe_left\n")


SPECIMENS = {
    specimen.name: specimen
    for specimen in [
        Specimen(
            "gray8.png", lambda p: write_png(p, picture(), 0.3), read_pixels, grammars.PNG, True
        ),
        Specimen(
            "gray16.png",
            lambda path: path.write_bytes(cv2.imencode(".png", picture(np.uint16))[1].tobytes()),
            *(read_pixels, grammars.PNG, True),
        ),
        Specimen("palette.png", make_color_png, read_pixels, grammars.PNG, True),
        Specimen("gray.jpg", make_jpeg, read_pixels, grammars.JPEG),
        Specimen(
            "color.jpg",
            functools.partial(make_jpeg, subsampling=2, progressive=True),
            *(read_pixels, grammars.JPEG),
        ),
        Specimen(
            "restarts.jpg",
            functools.partial(make_jpeg, restart_marker_rows=1),
            *(read_pixels, grammars.JPEG),
        ),
        dicom("explicit.dcm", uid.ExplicitVRLittleEndian, grammars.EXPLICIT),
        dicom("implicit.dcm", uid.ImplicitVRLittleEndian, grammars.IMPLICIT),
        dicom("deflated.dcm", uid.DeflatedExplicitVRLittleEndian, grammars.DEFLATED),
        dicom("jpeg.dcm", uid.JPEGBaseline8Bit, grammars.EXPLICIT),
        compressed("lossless.dcm", "JPEGLosslessProcess14_1"),
        compressed("jpegls.dcm", "JPEGLSLossless"),
        compressed("jpeg2000.dcm", "JPEG2000Lossless"),
        compressed("rle.dcm", "RLELossless"),
        nifti("ct.nii", 0, grammars.NIFTI),
        nifti("ct.nii.gz", 0, grammars.NIFTI_GZ, checked=True),
        nifti("seg.nii.gz", 1, grammars.NIFTI_GZ, checked=True),
        Specimen("masks.pxm", lambda p: masks().write(p), read_masks, grammars.PXM, True),
        Specimen("masks.npy", lambda p: masks().write(p), read_masks, grammars.NPY),
        Specimen("masks.json", lambda p: masks().write(p), read_masks, grammars.JSON),
        Specimen("ours.ckpt", make_checkpoint, read_checkpoint, grammars.ZIP, True, True),
        Specimen("signed.ckpt", make_checkpoint, read_checkpoint, grammars.SIGNED),
        Specimen("published.pth", make_published, read_state, grammars.ZIP, True),
        Specimen(
            "legacy.pth",
            functools.partial(make_published, zipped=False),
            read_state,
            grammars.PLAIN,
        ),
        Specimen(
            "weights.safetensors",
            lambda path: path.write_bytes(save(small_state())),
            *(read_state, grammars.SAFETENSORS),
        ),
        Specimen("open.safetensors", make_portable, read_given, grammars.SAFETENSORS, True, True),
        Specimen("dataset.zip", make_archive, unpacked, grammars.ZIP, True),
        Specimen(
            "counts.npz",
            lambda path: random_evaluation().write(path.parent),
            *(read_counts, grammars.ZIP, True),
        ),
        Specimen("profile.yaml", make_profile, read_settings, grammars.JSON),
        Specimen("paxray.json", make_datafile, read_splits, grammars.JSON),
        Specimen("manifest.jsonl", make_manifest, read_done, grammars.JSON),
        Specimen("report.csv", make_table, read_csv, grammars.JSON),
        Specimen("names.tsv", make_names, read_names, grammars.JSON),
        Specimen("status.json", make_status, read_states, grammars.JSON),
    ]
}
