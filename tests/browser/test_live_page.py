"""The page of `paxray export live` in Chromium, from disk: dropped films are segmented there.

What runs the network is a formula here, but in the last test, which wants the archive of
onnxruntime-web in PAXRAY_ORT_WEB.
"""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from helpers.ort_web import formula, write_archive
from helpers.sampledata import ROOT
from helpers.tiny_models import tiny_model
from helpers.viewer_page import element, exported
from helpers.xrays import transcode, write_xray
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian
from torch.nn import functional

from paxray_lib import load_model
from paxray_lib.images import read_image
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.models import predict_image, save_model
from paxray_lib.sharing.live import export_live
from paxray_lib.viz import overlay

pytestmark = [pytest.mark.browser, pytest.mark.slow]
STYLE = {"alpha": overlay.ALPHA, "outline": 1, "dashed": False, "window": [0, 255]}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page whose network is a formula."""
    folder = tmp_path_factory.mktemp("live")
    model = tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (64, 64)))
    save_model(folder / "m.ckpt", model)
    export_live(write_archive(folder / "ort.tgz"), folder / "live.html", folder / "m.ckpt")
    return (folder / "live.html").as_uri()


@pytest.fixture
def live(address, open_page):
    page = open_page(viewport={"width": 1366, "height": 768})
    page.goto(address)
    page.locator("body[data-ready]").wait_for()
    return page


def drop(page, *paths):
    """Choose films, and wait until the last is shown or refused."""
    page.set_input_files("#choose", paths)
    page.locator("#said", has_text=f"{paths[-1].name}:").wait_for(timeout=60_000)


def film(path, height, width, seed=0, dtype=np.uint8):
    """Write a picture of gray noise; return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width), dtype)
    Image.fromarray(pixels).save(path)
    return pixels


def names(page):
    return element(page, "jump").locator("option").all_inner_texts()


def test_masks_are_the_enlarged_logits(live, tmp_path):
    pixels = film(tmp_path / "a.png", 130, 95)
    drop(live, tmp_path / "a.png")
    live.locator('[data-testid="viewer"]:not([data-drawn="0"])').wait_for()
    logits = torch.from_numpy(formula(pixels[0, 0]))[None]
    large = functional.interpolate(logits, (130, 95), mode="bilinear", align_corners=False)[0]
    masks = PackedMasks.pack((large > 0).numpy(), LABELS)
    for names_ in (["lung_right", "lung_left", "heart"], list(dict.fromkeys(LABELS.names))):
        if len(names_) > 3:
            element(live, "all").click()
        indices = sorted(i for name in names_ for i in LABELS.index(name))
        assert masks.counts()[indices].min() > 0
        assert np.array_equal(exported(live), overlay.render(pixels, masks, indices, **STYLE))


def test_several_films_make_a_list_and_what_is_no_film_is_said(live, tmp_path):
    film(tmp_path / "a.png", 60, 50)
    film(tmp_path / "large.jpg", 1500, 800, seed=1)
    film(tmp_path / "deep.png", 70, 70, dtype=np.uint16)
    (tmp_path / "b.txt").write_text("no film")
    (tmp_path / "c.dcm").write_bytes(
        write_xray(tmp_path / "whole.dcm", (60, 50)).read_bytes()[:900]
    )
    files = [tmp_path / name for name in ("a.png", "b.txt", "c.dcm", "large.jpg", "deep.png")]
    drop(live, *files)
    assert names(live) == ["a.png", "large.jpg", "deep.png"]
    assert element(live, "place").inner_text() == "3 of 3"
    assert "reads the upper 8" in element(live, "readout").inner_text()
    failed = live.locator("#failed li").all_inner_texts()
    assert failed[0].startswith("b.txt: not a picture")
    assert failed[1].startswith("c.dcm: damaged DICOM")
    live.keyboard.press("p")  # without a click
    live.get_by_text("Reduced to 546 x 1024 pixels, from 800 x 1500.").wait_for()


SEQUENCE = [pydicom.Dataset()]
SEQUENCE[0].CodeValue = "R-10242"
FILMS = {
    "range": {},
    "narrow": {"WindowCenter": 1500, "WindowWidth": 40},
    "window": {"WindowCenter": [1500, 9], "WindowWidth": [2000, 9], "ViewCodeSequence": SEQUENCE},
    "exact": {"WindowCenter": 1500, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {"WindowCenter": 1500, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "rescaled": {
        "RescaleSlope": -2,
        "RescaleIntercept": 100,
        "PixelRepresentation": 1,
        "PixelPaddingValue": 0,
        "PixelPaddingRangeLimit": 900,
        "BitsStored": 16,
        "HighBit": 15,
    },
}


def test_dicom_is_shown_as_in_python(live, tmp_path):
    paths = [write_xray(tmp_path / f"{name}.dcm", (60, 50), **tags) for name, tags in FILMS.items()]
    dataset = pydicom.dcmread(tmp_path / "window.dcm")
    dataset.ViewCodeSequence.is_undefined_length = True
    dataset.ViewCodeSequence[0].is_undefined_length_sequence_item = True
    for name, syntax in (("undefined", None), ("implicit", ImplicitVRLittleEndian)):
        if syntax:
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / f"{name}.dcm", implicit_vr=bool(syntax), little_endian=True)
        paths.append(tmp_path / f"{name}.dcm")
    for path in paths:
        drop(live, path)
        live.locator(f'[aria-label^="{path.name}"]').wait_for()
        element(live, "none").click()
        expected = np.round(255 * read_image(path).pixels)
        assert np.abs(exported(live)[..., 0] - expected).max() <= 1, path.name
        assert expected.std() > 50


def test_dicom_that_is_none_of_these_is_refused(live, tmp_path):
    plain = write_xray(tmp_path / "plain.dcm", (60, 50))
    paths = {
        transcode(
            plain, tmp_path / "packed.dcm", "JPEGLosslessProcess14_1"
        ): "compressed DICOM (1.2",
        write_xray(tmp_path / "ct.dcm", (60, 50), Modality="CT"): "DICOM of modality CT",
        write_xray(tmp_path / "frames.dcm", (60, 50), NumberOfFrames=2): "several frames",
        write_xray(tmp_path / "short.dcm", (60, 50), Rows=61): "too few",
    }
    for path, words in paths.items():
        drop(live, path)
        assert words in live.locator("#said").inner_text()
    assert live.locator("#films canvas").count() == 0


def test_it_waits_for_films_in_a_window_without_scrolling(live):
    assert live.get_by_text("Drop chest X-rays here").is_visible()
    height = live.evaluate("document.documentElement.scrollHeight")
    assert height <= 768


def test_a_runtime_that_fails_is_said(open_page, tmp_path):
    save_model(tmp_path / "m.ckpt", tiny_model())
    module = {"package/dist/ort.wasm.bundle.min.mjs": "throw new Error('no such thing')"}
    archive = write_archive(tmp_path / "ort.tgz", **module)
    export_live(archive, tmp_path / "live.html", tmp_path / "m.ckpt")
    page = open_page()
    page.goto((tmp_path / "live.html").as_uri())
    page.get_by_text("This browser cannot run the model (no such thing)").wait_for()


def test_masks_of_the_open_model_are_those_of_python(open_page, tmp_path):
    archive = os.environ.get("PAXRAY_ORT_WEB", "")
    if not archive:
        pytest.skip("PAXRAY_ORT_WEB names no archive of onnxruntime-web")
    export_live(Path(archive), tmp_path / "live.html")
    assert (tmp_path / "live.html").stat().st_size < 40e6
    page = open_page()
    page.goto((tmp_path / "live.html").as_uri())
    page.locator("body[data-ready]").wait_for(timeout=120_000)
    path = ROOT / "data/examples/hannover_3b46de94_frontal.png"
    drop(page, path)
    page.wait_for_timeout(1000)
    image = read_image(path)
    masks = predict_image(load_model("open"), image)
    indices = LABELS.select("lung_right", "lung_left", "heart")
    pixels = np.round(255 * image.pixels).astype(np.uint8)
    expected = overlay.render(pixels, masks, sorted(indices), **STYLE)
    assert (exported(page) != expected).any(axis=2).mean() < 0.001
