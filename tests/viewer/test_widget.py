import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset, Sample
from paxray_lib.images.read import Image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.widget import LabelViewer
from paxray_lib.viz.overlay import DIFFERENCE_COLORS, compare, render


@pytest.fixture(scope="module")
def sample(tiny):
    return PaxrayDataset(tiny)[0]


@pytest.fixture(scope="module")
def shifted(sample):
    return PackedMasks(np.roll(sample.masks.data, 2, 1), sample.masks.labels)


@pytest.fixture(scope="module")
def pixels(sample):
    return (sample.image * 255 + 0.5).astype(np.uint8)


def test_selection_takes_names_groups_and_patterns(sample):
    viewer = LabelViewer(sample.image, sample.masks)
    assert viewer.selected == ["lung_right", "lung_left", "heart"]
    viewer.selected = ["aorta", "rib_left_1?", "vertebrae"]
    assert viewer.selected[:4] == ["aorta", "rib_left_10", "rib_left_11", "rib_left_12"]
    assert len(viewer.selected) == 4 + len(LABELS.select("vertebrae"))
    # an exact name stands for itself, here and in what the browser sends
    viewer.selected = ["ribs"]
    assert viewer.selected == ["ribs"]
    with pytest.raises(ValueError, match="'heart'"):
        viewer.selected = ["hart"]
    assert viewer.selected == ["ribs"]
    assert LabelViewer(sample.image, sample.masks, selected="great_vessels").selected == [
        LABELS.names[i] for i in LABELS.select("great_vessels")
    ]


def test_repr_is_stable(sample, tiny):
    assert (
        repr(LabelViewer(sample.image, sample.masks))
        == "LabelViewer('image', 166 labels, 3 selected)"
    )
    assert (
        repr(LabelViewer.browse(PaxrayDataset(tiny), selected=[]))
        == "LabelViewer(8 images, 166 labels, 0 selected)"
    )


def test_picture_is_that_of_the_overlay(sample, shifted, pixels):
    viewer = LabelViewer(
        sample.image, sample.masks, shifted, selected=["heart", "mediastinum_upper"]
    )
    assert viewer.mode == "both"
    indices, style = (
        LABELS.select("heart", "mediastinum_upper"),
        {"alpha": 200, "outline": 2, "dashed": True},
    )
    for mode in ("target", "prediction", "both", "difference"):
        viewer.mode, viewer.alpha, viewer.outline, viewer.dashed, viewer.window = (
            mode,
            200,
            2,
            True,
            [20, 180],
        )
        expected = compare(
            pixels, sample.masks, shifted, indices, mode=mode, window=(20, 180), **style
        )
        np.testing.assert_array_equal(np.asarray(viewer.to_image()), expected)
    viewer.visible = [3, 5, 20, 10]
    np.testing.assert_array_equal(np.asarray(viewer.to_image()), expected[3:23, 5:15])
    assert viewer.figure().height >= 48
    colors = {color for _, color in viewer.figure().getcolors(2**16)}
    assert set(DIFFERENCE_COLORS.values()) <= colors  # in the legend, and none of the labels
    assert not {tuple(color) for color in LABELS.colors[indices].tolist()} & colors


def test_spacing_and_name_come_from_the_image(sample, tiny):
    viewer = LabelViewer(Image(sample.image, (0.5, 0.25), "frontal"), sample.masks)
    assert (viewer._first["spacing"], viewer._first["view"]) == ([0.5, 0.25], "frontal")
    path = PaxrayDataset(tiny).image_path(0)
    assert LabelViewer(str(path), sample.masks)._first["name"] == path.stem


def test_one_stack_is_drawn_whatever_the_mode(sample, pixels):
    viewer = LabelViewer(sample.image, None, sample.masks, selected="heart", mode="difference")
    np.testing.assert_array_equal(
        np.asarray(viewer.to_image()), render(pixels, sample.masks, LABELS.select("heart"))
    )


def test_wrong_values_are_refused(sample, tiny):
    viewer = LabelViewer(sample.image, sample.masks)
    for name, value in (
        ("window", [9, 9]),
        ("window", [9]),
        ("position", 1),
        ("position", -1),
        ("sort_by", "iou"),
    ):
        with pytest.raises(ValueError, match=name.split("_")[0]):
            setattr(viewer, name, value)
    with pytest.raises(
        ValueError, match="48 rows and 48 columns, but the predicted masks 24 and 24"
    ):
        LabelViewer(sample.image, sample.masks, sample.masks.resize(24, 24))
    with pytest.raises(ValueError, match="nothing to show"):
        LabelViewer(sample.image)
    with pytest.raises(ValueError, match="name the folder"):
        LabelViewer.browse(tiny / "images")


def test_browsing_sends_each_image_when_it_is_asked_for(tiny, monkeypatch):
    dataset = PaxrayDataset(tiny)
    viewer = LabelViewer.browse(dataset, lambda sample: sample.masks)
    sent = []
    monkeypatch.setattr(
        viewer, "send", lambda content, buffers=None: sent.append((content, buffers))
    )
    viewer._answer(viewer, {"need": [1, 2, 99, "x"]}, [])
    assert [content["scene"]["index"] for content, _ in sent] == [1, 2]
    content, buffers = sent[0]
    assert content["parts"] == ["image", "target", "prediction"]
    assert all(isinstance(buffer, bytes) for buffer in buffers)
    viewer.go_to("case002lateral")
    assert viewer.position == dataset.entries.index(
        next(e for e in dataset.entries if "case002lateral" in e.image)
    )
    np.testing.assert_array_equal(
        np.asarray(viewer.to_image()),
        compare(
            viewer._load(viewer.position).pixels,
            *[dataset[viewer.position].masks] * 2,
            viewer._indices(),
            mode="both",
        ),
    )
    with pytest.raises(ValueError, match="did you mean"):
        viewer.go_to("case002latera")


def test_an_image_that_cannot_be_shown_sends_its_error(tiny, monkeypatch):
    viewer = LabelViewer.browse(
        PaxrayDataset(tiny),
        lambda s: s.masks if s.name == "case000frontal" else s.masks.resize(9, 9),
    )
    sent = []
    monkeypatch.setattr(
        viewer, "send", lambda content, buffers=None: sent.append((content, buffers))
    )
    viewer._answer(viewer, {"need": [1]}, [])
    assert "predicted masks 9 and 9" in sent[0][0]["scene"]["error"]
    assert sent[0][1] == []


def page_of(viewer):
    data, _ = viewer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    return data["text/html"]


def stored(page):
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1]
    )


def test_page_carries_everything_and_nothing_from_the_network(sample, tiny):
    page = page_of(LabelViewer(sample.image, sample.masks))
    assert "<img" in page
    assert not re.search(r"https?://(?!www\.w3\.org)|import\s*[({\"']", page)
    assert len(stored(page)["scenes"]) == 1
    scores = pd.DataFrame(
        {"image": [e.image for e in PaxrayDataset(tiny).entries], "iou": np.linspace(0, 1, 8)}
    )
    viewer = LabelViewer.browse(PaxrayDataset(tiny), scores=scores)
    viewer.position = 3
    scenes = stored(page_of(viewer))["scenes"]
    assert [scene["index"] for scene in scenes][:2] == [3, 4]
    assert viewer._first["index"] == 3


def test_page_stays_small_however_many_images():
    page = page_of(LabelViewer.browse(NoisyImages()))
    assert len(page) <= 400_000
    assert 1 <= len(stored(page)["scenes"]) < 12


def test_an_image_too_large_for_a_page_is_stored_reduced():
    image = np.random.default_rng(0).random((900, 1200))
    stack = np.zeros((166, 900, 1200), bool)
    stack[17, 100:600, 200:900] = True
    page = page_of(LabelViewer(image, stack, stack))
    assert 300_000 < len(page) <= 400_000
    (scene,) = stored(page)["scenes"]
    assert scene["width"] / scene["height"] == pytest.approx(4 / 3, abs=0.01)
    assert (
        f"reduced to {scene['height']} x {scene['width']} pixels; it has 900 x 1200"
        in scene["note"]
    )


class NoisyImages(PaxrayDataset):
    """Twelve noisy images in memory."""

    labels = LABELS
    datafile = SimpleNamespace(root=Path(), view=lambda entry: entry.view)
    split = "train"

    def __init__(self):
        self.entries = [
            SimpleNamespace(image=f"i{k}.png", target=None, view=None) for k in range(12)
        ]
        self.image = np.random.default_rng(0).random((160, 160)).astype(np.float32)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        stack = np.zeros((166, 160, 160), bool)
        stack[17, 20:90, 30:80] = True
        return Sample(self.image, PackedMasks.pack(stack, LABELS), f"i{index}", "c", None, None)


def test_images_without_masks_can_be_browsed(tiny, tmp_path):
    (tmp_path / "images").symlink_to(tiny / "images")
    data = json.loads((tiny / "paxray.json").read_text())
    data["test"] = [{"image": entry["image"]} for entry in data["test"]]
    (tmp_path / "paxray.json").write_text(json.dumps(data))
    dataset = PaxrayDataset(tmp_path, split="test")
    viewer = LabelViewer.browse(dataset)
    assert viewer.selected == []
    expected = np.repeat((dataset[0].image * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(np.asarray(viewer.to_image()), expected)


def test_the_first_image_may_be_broken(tiny, tmp_path):
    (tmp_path / "images").mkdir()
    masks = PackedMasks.pack(np.ones((2, 5, 7), bool), LabelSet(["a", "b"]))
    for name in ("1", "2"):
        PilImage.fromarray(np.eye(5, 7, dtype=np.uint8)).save(tmp_path / "images" / f"{name}.png")
        masks.write(tmp_path / f"{name}.npy")
    (tmp_path / "images/1.png").write_bytes(b"broken")
    viewer = LabelViewer.browse(tmp_path / "images", tmp_path, labels=masks.labels)
    page = viewer._repr_mimebundle_()[0]["text/html"]
    assert "1.png: not a PNG" in stored(page)["scenes"][0]["error"]
    assert re.search("<figcaption>.*1.png: not a PNG", page)
    viewer.position = 1
    viewer.selected = ["a"]
    assert viewer.to_image().size == (7, 5)


def test_what_was_seen_of_a_larger_image_does_not_limit_a_smaller_one(sample):
    viewer = LabelViewer(sample.image, sample.masks)
    viewer.visible = [5000, 0, 10, 10]
    assert viewer.to_image().size == sample.image.shape[::-1]
    viewer.visible = [1, 2, 3, 4]
    assert viewer.to_image().size == (4, 3)
    with pytest.raises(ValueError, match=r"visible \[3\]"):
        viewer.visible = [3]


def test_an_unknown_setting_is_refused(sample):
    with pytest.raises(ValueError, match=r"setting 'alhpa'.*did you mean 'alpha'"):
        LabelViewer(sample.image, sample.masks, alhpa=3)


def test_no_name_ends_the_script_of_a_page():
    names = ["<!--<script>", "</script><b>", "\"'`", "{{ x }}", "$x$", "\u202egnp", "&lt;"]
    masks = PackedMasks.pack(np.ones((7, 5, 7), bool), LabelSet(names))
    page = LabelViewer(np.zeros((5, 7), np.uint8), masks)._repr_mimebundle_()[0]["text/html"]
    assert page.count("<script") == page.count("</script") == 2
    assert "<!--" not in page
    assert stored(page)["traits"]["_labels"]["names"] == names
