"""Pictures of predictions: sizes, structures, and what they never overwrite."""

import errno
import io
import os
from unittest import mock

import numpy as np
import pytest
from helpers.boxes import BOXES, boxes
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from PIL import Image as PilImage

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.prediction.predict import predict
from paxray_lib.results.overlays import LARGE, chosen_labels, draw_predictions, overlay_name


def gray(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.linear_gradient("L").resize((width, height)).save(path)


@pytest.fixture
def folder(tmp_path):
    gray(tmp_path / "in/a.png", 64, 80)
    gray(tmp_path / "in/deep/b.jpg", 1200, 600)
    write_xray(tmp_path / "in/c.dcm", (60, 100), PixelSpacing=[0.4, 0.1])
    return tmp_path / "in"


def size_of(jpeg):
    with PilImage.open(io.BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        return picture.height, picture.width


def test_one_picture_a_film_at_its_aspect_ratio(folder, tmp_path):
    out = tmp_path / "out"
    report = predict(Threshold(), folder, out)
    pictures = draw_predictions(out, report)
    assert list(pictures) == report["file"].tolist()
    assert [p.overlay for p in pictures.values()] == [
        *("overlays/a.jpg", "overlays/c.jpg", "overlays/deep/b.jpg")
    ]
    assert [size_of(p.thumbnail) for p in pictures.values()] == [(64, 80), (100, 42), (256, 128)]
    sizes = [size_of((out / p.overlay).read_bytes()) for p in pictures.values()]
    assert [height for height, _ in sizes] == [64, 100, 1024]
    for (_, width), film in zip(sizes, (80, 42, 512), strict=True):
        assert film + 80 < width < film + 400  # the legend


def test_thumbnails_alone_write_nothing(folder, tmp_path):
    report = predict(Threshold(), folder, tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    pictures = draw_predictions(tmp_path / "out", report, overlays=False)
    assert all(p.thumbnail and not p.overlay and not p.problem for p in pictures.values())
    assert sorted((tmp_path / "out").rglob("*")) == before


@pytest.mark.parametrize(("names", "shown"), [(None, True), (["lung_left"], False)])
def test_structures_are_large_ones_or_those_that_are_named(folder, tmp_path, names, shown):
    report = predict(Threshold(), folder / "a.png", tmp_path / "out")
    boxes().write(tmp_path / "out/a.pxm")
    (picture,) = draw_predictions(tmp_path / "out", report, names).values()
    drawn = np.asarray(PilImage.open(tmp_path / "out" / picture.overlay)).astype(int)
    top, bottom, _, right = BOXES["heart"]
    red = LABELS.colors[LABELS.index("heart")[0]]
    edge = np.abs(drawn[top : bottom - 1, right - 2 : right] - red).max(axis=-1)
    assert (np.median(edge) < 40) == shown
    legend = drawn[:, 84:]
    assert (np.abs(legend - red).max(axis=-1) < 30).any() == shown


def test_default_structures():
    names = {LABELS.names[i] for i in chosen_labels(LABELS)}
    assert names >= {"heart", "lung_left", "lung_right", "spine"}
    assert names <= set(LARGE)
    assert chosen_labels(LabelSet(["femur", "hand"])) == [0, 1]
    assert chosen_labels(LABELS, ["heart"]) == LABELS.index("heart")
    with pytest.raises(ValueError, match="did you mean 'heart'"):
        chosen_labels(LABELS, ["hart"])


def test_pictures_in_the_folder_of_the_images_are_no_images(folder):
    for _ in range(2):
        report = predict(Threshold(), folder, folder)
        assert len(report) == 3
        assert not any(p.problem for p in draw_predictions(folder, report).values())


def test_a_picture_of_somebodys_stays(folder):
    gray(folder / "overlays/a.jpg", 9, 9)
    mine = (folder / "overlays/a.jpg").read_bytes()
    report = predict(Threshold(), folder, folder)
    assert len(report) == 4
    pictures = draw_predictions(folder, report)
    assert "a.jpg: is there already and was not drawn" in pictures[str(folder / "a.png")].problem
    assert [bool(p.problem) for p in pictures.values()] == [True, False, False, False]
    assert (folder / "overlays/a.jpg").read_bytes() == mine


@pytest.mark.parametrize("format", ["npy", "coco", "dicom-seg"])
def test_every_format_is_drawn(folder, tmp_path, format):
    predict(Threshold(), folder / "c.dcm", tmp_path / "packed")
    report = predict(Threshold(), folder / "c.dcm", tmp_path / "out", format=format)
    pictures = [
        draw_predictions(tmp_path / "packed", report.assign(output="c.pxm")),
        draw_predictions(tmp_path / "out", report),
    ]
    (first,), (second,) = (picture.values() for picture in pictures)
    assert first == second


def test_what_cannot_be_drawn_is_a_problem_of_its_own(folder, tmp_path):
    out = tmp_path / "out"
    report = predict(Threshold(), folder, out)
    (out / "a.pxm").write_bytes(b"PAXMASK\nno more")
    gray(folder / "deep/b.jpg", 20, 20)
    pictures = draw_predictions(out, report)
    problems = {os.path.basename(file): picture.problem for file, picture in pictures.items()}
    assert "a.pxm: damaged" in problems["a.png"]
    assert "b.jpg: changed since it was predicted" in problems["b.jpg"]
    assert not problems["c.dcm"]
    assert sorted(path.name for path in out.rglob("*.jpg")) == ["c.jpg"]


def test_a_full_disk_ends_it(folder, tmp_path):
    report = predict(Threshold(), folder, tmp_path / "out")
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    writing = mock.patch("paxray_lib.results.overlays.atomic_write", side_effect=error)
    with writing, pytest.raises(OSError, match="No space left"):
        draw_predictions(tmp_path / "out", report)
    assert not list((tmp_path / "out").rglob("*.part*"))


def test_names_of_pictures():
    names = [overlay_name(name) for name in ("d/a.pxm", "a.npy", "a.png.json", "1.2.seg.dcm")]
    assert names == ["d/a.jpg", "a.jpg", "a.png.jpg", "1.2.jpg"]


def test_masks_of_one_label(folder, tmp_path):
    report = predict(Threshold(), folder / "a.png", tmp_path / "out", labels="heart")
    PackedMasks.pack(np.zeros((1, 64, 80), bool), LabelSet(["heart"])).write(tmp_path / "out/a.pxm")
    (picture,) = draw_predictions(tmp_path / "out", report).values()
    assert size_of((tmp_path / "out" / picture.overlay).read_bytes())[0] == 64
