"""Predictions in processes of their own: killed and started again, and their memory."""

import itertools
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from helpers.tiny_models import tiny_model
from helpers.xrays import write_xray
from PIL import Image as PilImage
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.images.files import find_images
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models.checkpoints import load_model, save_model
from paxray_lib.prediction.predict import predict
from paxray_lib.utils.manifest import read_manifest

pytestmark = pytest.mark.slow
COUNT, BAD = 60, 6  # images, and how many of them are broken


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of a tiny network whose masks differ from image to image."""
    path = tmp_path_factory.mktemp("weights") / "model.ckpt"
    preprocessing = Preprocessing("standard", (32, 32))
    save_model(path, tiny_model(labels=LABELS, preprocessing=preprocessing))
    return path


@pytest.fixture
def originals(request, tmp_path):
    """Small and large real X-rays in PNG, JPEG and DICOM; random ones where there are none."""
    try:
        return find_images(request.getfixturevalue("real_data") / "cxr")
    except pytest.skip.Exception:
        rng = np.random.default_rng(0)
        paths = [tmp_path / "originals" / name for name in ("a.png", "b.jpg", "c.png", "d.jpg")]
        paths[0].parent.mkdir()
        for path in paths:
            PilImage.fromarray(rng.integers(0, 256, rng.integers(200, 900, 2), np.uint8)).save(path)
        return paths


def copies(originals, folder, count):
    """Write copies of the originals, over several folders, BAD of them broken; return {path:
    original, or None}.
    """
    small = [path for path in originals if path.stat().st_size < 300_000]
    large = [path for path in originals if path not in small] or small
    made = {}
    for i in range(count):
        original = large[i // 25 % len(large)] if i % 25 == 0 else small[i % len(small)]
        path = (
            folder / f"{i % 7}" / f"{i:04d}{original.suffix.upper() if i % 3 else original.suffix}"
        )
        if i % 10 == 5:  # a wrong suffix alone is no fault: the content decides
            path = path.with_suffix(".jpg" if path.suffix.lower() == ".png" else ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        made[path] = original
        if i % (count // BAD) == 3:
            made[path] = None
            content = original.read_bytes()
            kinds = (
                content[: len(content) // 2],
                b"",
                b"this is text, not an image\n",
                b"%PDF-1.7\n" + content[:99],
            )
            path.write_bytes(kinds[i // (count // BAD) % 4])
        else:
            shutil.copy(original, path)
    return made


def command(weights, images, out):
    arguments = ["--images", images, "--out", out, "--weights", weights, "--device", "cpu"]
    return ["predict", *map(str, arguments)]


def kill_when_done(process, out, count):
    while sum(1 for _ in out.rglob("*.pxm")) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_that_is_killed_twice_ends_with_one_output_for_each_good_file(
    weights, originals, tmp_path
):
    images, out = tmp_path / "in", tmp_path / "out"
    made = copies(originals, images, COUNT)
    assert sum(original is None for original in made.values()) == BAD
    for count in (10, 30):
        paxray = [sys.executable, "-m", "paxray_lib", *command(weights, images, out)]
        kill_when_done(subprocess.Popen(paxray, stderr=subprocess.DEVNULL), out, count)
        for path in out.rglob("*.pxm"):
            if not path.name.startswith("."):
                PackedMasks.read(path)  # whole, whenever the kill came
    ended = CliRunner().invoke(app, command(weights, images, out))
    assert ended.exit_code == 1, ended.output

    report = pd.read_csv(out / "report.csv", keep_default_na=False)
    assert report["file"].tolist() == sorted(map(str, made))
    assert report["status"].value_counts()["failed"] == BAD
    assert report["status"].value_counts()["skipped"] >= 30 - BAD
    assert len([line for line in ended.stderr.splitlines() if line.startswith("failed:")]) == BAD
    good = {str(path): original for path, original in made.items() if original is not None}
    assert set(report["file"][report["status"] != "failed"]) == set(good)
    assert report["output"][report["output"] != ""].is_unique

    reference = predict(load_model(weights), originals, tmp_path / "reference").set_index("file")[
        "output"
    ]
    for row in report[report["status"] != "failed"].itertuples():
        wanted = tmp_path / "reference" / reference[str(good[row.file])]
        assert (out / row.output).read_bytes() == wanted.read_bytes(), row.file
    for row in report[report["status"] == "failed"].itertuples():
        assert row.file in row.reason
    ours = {"report.csv", "settings.json", "manifest.jsonl"}
    found = {str(path.relative_to(out)) for path in out.rglob("[!.]*") if path.is_file()}
    assert found == ours | set(report["output"]) - {""}


# -- memory


MEASURED = """
import sys
from pathlib import Path
from paxray_lib.models.checkpoints import load_model
from paxray_lib.prediction.predict import predict

model = load_model(sys.argv[1])
for images, out, format in zip(*[iter(sys.argv[2:])] * 3):
    report = predict(model, images, out, format=format)
    assert (report["status"] == "ok").all(), report
    # not ru_maxrss: it starts at the memory of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    print(*(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def peaks_mib(weights, *predictions):
    """Predict (images, out, format) one after another in a new process; return its peak memory
    after each, in MiB.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak memory is read from /proc")
    arguments = [weights, *itertools.chain.from_iterable(predictions)]
    command = [sys.executable, "-c", MEASURED, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(line) / 1024 for line in done.stdout.splitlines()]


def test_an_image_of_3000_x_3000_takes_less_than_2_gib(weights, tmp_path):
    write_xray(tmp_path / "x.dcm", (3000, 3000))
    formats = ["packed", "npy", "coco", "dicom-seg"]
    peaks = peaks_mib(weights, *((tmp_path / "x.dcm", tmp_path / f, f) for f in formats))
    assert max(peaks) < 2048, dict(zip(formats, peaks, strict=True))
    outputs = {format: read_manifest(tmp_path / format) for format in formats}
    assert [len(found) for found in outputs.values()] == [1] * 4
    (output,) = outputs["npy"]
    assert np.load(tmp_path / "npy" / output, mmap_mode="r").shape == (166, 3000, 3000)


def test_memory_does_not_grow_with_the_number_of_images(weights, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / ("few" if i < 10 else "many") / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        PilImage.fromarray(rng.integers(0, 256, (1200, 1200), np.uint8)).save(path)
    few, many = peaks_mib(
        weights, *((tmp_path / n, tmp_path / f"{n}_out", "packed") for n in ("few", "many"))
    )
    # 20 more in memory would be 110 MiB as float32, 575 MiB as packed masks
    assert many < few + 100
