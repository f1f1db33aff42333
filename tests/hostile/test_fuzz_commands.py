"""Folders of damaged files through the commands: each file is done, or an item that failed."""

import shutil

import numpy as np
from helpers.damage import apply
from helpers.specimens import SPECIMENS
from helpers.tiny_models import NAMES, tiny_model
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.data.datafile import read_datafile
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.images.read import read_image
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.checkpoints import save_model
from paxray_lib.utils import read_table

IMAGES = [name for name in SPECIMENS if name.endswith((".png", ".jpg", ".dcm"))]


def damaged(name, seed, folder):
    """Return a damaged specimen."""
    path = folder / f"sound_{name}"
    SPECIMENS[name].make(path)
    return apply(path.read_bytes(), seed, SPECIMENS[name].changes).data


def error_of(read, *arguments):
    """Return what is read, or the error as text."""
    try:
        return read(*arguments)
    except (ValueError, OSError) as error:
        return str(error)


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))


def test_predict_forty_damaged_images(tmp_path):
    weights = tmp_path / "small.ckpt"
    save_model(weights, tiny_model(preprocessing=Preprocessing("standard", (64, 64))).eval())
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    for seed in range(40):
        name = IMAGES[seed % len(IMAGES)]
        (images / f"{seed:02}{name}").write_bytes(damaged(name, seed, tmp_path))
    expected = {path: error_of(read_image, path) for path in sorted(images.iterdir())}
    done = run("predict", "--images", images, "--out", out, "--weights", weights)
    assert done.exit_code == 1, done.output
    report = read_table(out / "report.csv").astype(object).fillna("")
    assert report["file"].tolist() == [str(path) for path in expected]
    for row, (path, image) in zip(report.itertuples(), expected.items(), strict=True):
        if isinstance(image, str):
            assert (row.status, row.reason, row.output) == ("failed", image, ""), path
            assert image in done.output
        else:
            assert (row.status, row.reason) == ("ok", ""), path
            assert PackedMasks.read(out / row.output, NAMES).shape[1:] == image.pixels.shape
    failed = sum(isinstance(image, str) for image in expected.values())
    assert 10 < failed < 40, "too few or too many damages that can be noticed"
    assert f"{40 - failed} ok, 0 skipped, {failed} failed" in done.output


def test_check_and_pack_damaged_masks(tmp_path, tiny):
    root = tmp_path / "data"
    shutil.copytree(tiny, root)
    data = read_datafile(root)
    targets = [entry.target for split in data.splits.values() for entry in split]
    for seed, target in enumerate(targets):
        (root / target).write_bytes(damaged("masks.pxm", seed, tmp_path))
    read = {name: error_of(PackedMasks.read, root / name, data.labels) for name in targets}
    done = run("check", "--data-root", root)
    assert done.exit_code == 1, done.output
    assert len(done.output.splitlines()) > 2
    for name, masks in read.items():
        if isinstance(masks, str):  # more than ten of one cause are one finding
            assert name in done.output or "such, also" in done.output, done.output
    arrays = {}
    for seed, target in enumerate(targets):
        path = (root / target).with_suffix(".npy")
        (root / target).unlink()
        path.write_bytes(damaged("masks.npy", seed, tmp_path))
        arrays[path] = error_of(PackedMasks.read, path, data.labels)
    text = (root / "paxray.json").read_text().replace(".pxm", ".npy")
    (root / "paxray.json").write_text(text)
    done = run("pack", "--data-root", root, "--workers", 1)
    assert done.exit_code == 1, done.output
    failed = [path for path, masks in arrays.items() if isinstance(masks, str)]
    assert (
        f"{len(arrays) - len(failed)} packed, 0 already packed, {len(failed)} failed" in done.output
    )
    for path, masks in arrays.items():
        packed = path.with_suffix(".pxm")
        assert packed.exists() != isinstance(masks, str), path
        assert isinstance(masks, str) or np.array_equal(PackedMasks.read(packed).data, masks.data)
