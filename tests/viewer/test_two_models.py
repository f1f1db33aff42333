"""Folders of two models, also of other labels; the films on which they disagree most come first."""

import numpy as np
import pytest
from helpers.threshold_model import Threshold
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.prediction.predict import predict
from paxray_lib.viewer.ranking import iou_present
from paxray_lib.viewer.two_models import from_two_models
from paxray_lib.viewer.uniting import united
from paxray_lib.viewer.widget import LabelViewer

NAMES = ["heart", "aorta", "lung_left", "own", "mediastinum_upper", "mediastinum_upper"]
label_sets = st.permutations(NAMES).flatmap(
    lambda names: st.integers(1, len(names)).map(lambda count: LabelSet(names[:count]))
)


def write_masks(path, names, *, shift=0, size=(24, 30)):
    path.parent.mkdir(exist_ok=True)
    stack = np.zeros((len(names), *size), bool)
    stack[:, 4:12, 3 + shift : 15 + shift] = True
    PackedMasks.pack(stack, LabelSet(names)).write(path)


@pytest.fixture
def folders(tmp_path):
    """Three films: both models agree, disagree, and only the second one has masks."""
    (tmp_path / "films").mkdir()
    for k, name in enumerate("abc"):
        pixels = np.random.default_rng(k).integers(0, 256, (24, 30), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"films/{name}frontal.png")
    for name, shift in (("a", 1), ("b", 6)):
        write_masks(tmp_path / f"one/{name}frontal.pxm", ["heart", "aorta"])
        write_masks(tmp_path / f"two/{name}frontal.pxm", ["tube", "aorta", "heart"], shift=shift)
    write_masks(tmp_path / "two/cfrontal.pxm", ["tube", "aorta", "heart"])
    return tmp_path


@given(label_sets, label_sets, st.integers(0, 2**32 - 1))
def test_labels_of_both_by_name(first, second, seed):
    rng = np.random.default_rng(seed)
    stacks = [rng.random((len(labels), 3, 5)) < 0.5 for labels in (first, second)]
    masks = [
        PackedMasks.pack(stack, own) for stack, own in zip(stacks, (first, second), strict=True)
    ]
    both = united(*masks)
    assert both[0].labels == both[1].labels
    labels = both[0].labels
    assert list(labels)[: len(first)] == list(first)
    assert sorted(labels) == sorted(
        name
        for name in set(NAMES)
        for _ in range(max(list(first).count(name), list(second).count(name)))
    )
    for own, stack, one in zip((first, second), stacks, both, strict=True):
        for name in set(labels):
            planes = stack[[k for k, other in enumerate(own) if other == name]]
            found = one.unpack([name]) if name in own else one.unpack([])
            places = labels.index(name)
            assert one.known[places].tolist() == [k < len(planes) for k in range(len(places))]
            if len(planes):
                np.testing.assert_array_equal(found[: len(planes)], planes)


@pytest.mark.parametrize("names", [("A", "A"), ("A", ""), ("A", "B", "C"), ("A",), "AB"])
def test_names_that_do_not_tell_two_models_apart(folders, names):
    with pytest.raises(ValueError, match="two different ones are needed"):
        LabelViewer.browse(folders / "films", (folders / "one", folders / "two"), names=names)


def test_all_films_of_either_with_labels_by_name(folders):
    source = from_two_models(folders / "films", (folders / "one", folders / "two"))
    assert source.names == ["afrontal", "bfrontal", "cfrontal"]
    assert source.models == ("one", "two")
    assert source.labels.names == ("heart", "aorta", "tube")
    scene = source.load(1)
    assert scene.target.known.tolist() == [True, True, False]
    assert scene.prediction.known.tolist() == [True, True, True]
    expected = PackedMasks.read(folders / "two/bfrontal.pxm")
    for name in source.labels:
        np.testing.assert_array_equal(scene.prediction.unpack(name), expected.unpack(name))
    assert source.load(2).target is None
    assert source.roles[2] == ("two",)
    message = scene.to_message()
    assert (message["unknown"], message["lacking"]) == ([2], [])


def test_the_films_on_which_they_disagree_most_come_first(folders):
    viewer = LabelViewer.browse(folders / "films", (folders / "one", folders / "two"))
    viewer.sort_by = "disagreement"
    values = viewer._items["scores"]["disagreement"]
    scenes = [viewer._load(k) for k in range(2)]
    for scene, value in zip(scenes, values, strict=False):
        pairs = [
            (one.unpack(name)[0], other.unpack(name)[0])
            for name in ("heart", "aorta")
            for one, other in [(scene.target, scene.prediction)]
        ]
        scores = [(a & b).sum() / (a | b).sum() for a, b in pairs]
        assert value == pytest.approx(1 - np.mean(scores))
    assert values[0] < values[1]
    assert values[2] is None  # nothing to compare
    assert "disagreement" in viewer._items["highest"]


def test_what_predict_wrote_and_what_its_reports_say(folders):
    films = folders / "films"
    for name in ("x", "y"):
        predict(Threshold(), films, folders / name)
    viewer = LabelViewer.browse(films, [folders / "x", folders / "y"], names=("A", "B"))
    assert viewer.names == ["A", "B"]
    assert {"broken_rules of A", "broken_rules of B"} <= set(viewer._items["scores"])
    assert {"broken_rules of A", "disagreement"} <= set(viewer._items["highest"])
    assert iou_present(viewer._load(0)) == 1


def test_films_of_a_data_set(tiny, tmp_path):
    dataset = PaxrayDataset(tiny, split="test")
    for folder, step in (("m/out", 2), ("n/out", 5)):
        (tmp_path / folder).mkdir(parents=True)
        for k in range(len(dataset)):
            masks = dataset.masks(k)
            moved = PackedMasks(np.roll(masks.data, step, 1), masks.labels)
            moved.write(tmp_path / folder / f"{dataset.image_path(k).stem}.pxm")
    source = from_two_models(dataset, (tmp_path / "m/out", tmp_path / "n/out"))
    assert source.models == (str(tmp_path / "m/out"), str(tmp_path / "n/out"))
    assert source.names == [dataset[k].name for k in range(4)]
    assert source.views == ["frontal", "lateral"] * 2
    moved = np.roll(dataset.masks(1).data, 5, 1)
    np.testing.assert_array_equal(source.load(1).prediction.data, moved)


def test_truth_and_a_model_of_other_labels(tiny, tmp_path):
    dataset = PaxrayDataset(tiny, split="test")
    name = dataset.image_path(0).stem
    masks = dataset.masks(0)
    own = PackedMasks.pack(masks.unpack(["heart", "heart"])[[0, 0]], LabelSet(["tube", "heart"]))
    own.write(tmp_path / f"{name}.pxm")
    viewer = LabelViewer.browse(dataset, tmp_path)
    scene = viewer._load(0)
    assert scene.target.labels.names == (*dataset.labels, "tube")
    assert not scene.target.known[-1]
    assert np.flatnonzero(scene.prediction.known).tolist() == [
        *dataset.labels.index("heart"),
        len(dataset.labels),
    ]
    assert iou_present(scene) == 1  # by what both know
    viewer.mode = "difference"
    viewer.selected = ["tube", "aorta"]
    plain = viewer.to_image().tobytes()
    viewer.selected = []
    assert viewer.to_image().tobytes() == plain


def test_corrections_know_what_the_truth_or_the_one_who_corrects_knows(folders):
    corrected = folders / "corrected"
    (folders / "films").rename(folders / "images")
    entry = Entry("images/afrontal.png", "one/afrontal.pxm", "a", "frontal")
    write_datafile(folders / "paxray.json", LabelSet(["heart", "aorta"]), {"train": [entry]})
    viewer = LabelViewer.browse(
        PaxrayDataset(folders), folders / "two", editable=True, corrections=corrected
    )
    labels = viewer._source.labels
    assert labels.names == ("heart", "aorta", "tube")
    stroke = {"mode": "add", "shape": "brush", "size": 64, "points": [[320, 320]], "tree": True}
    viewer.send = lambda content, buffers=None: None
    strokes = [stroke | {"id": name, "label": k, "seconds": k} for k, name in enumerate(labels)]
    viewer._answer(viewer, {"strokes": [[0, one] for one in strokes]}, [])
    viewer.save()
    saved = PaxrayDataset(corrected)[0].masks
    assert saved.labels == labels
    assert saved.known.tolist() == [True, True, False]
    assert saved.unpack("heart")[0, 20, 20]
    assert not saved.unpack("tube").any()


def test_wrong_folders_are_named(folders):
    films, one = folders / "films", folders / "one"
    (folders / "none").mkdir()
    with pytest.raises(ValueError, match="none: no mask file there bears"):
        LabelViewer.browse(films, (one, folders / "none"))
    with pytest.raises(ValueError, match="two folders of predictions are needed, this is one"):
        LabelViewer.browse(films, (one, one))
    with pytest.raises(ValueError, match="3 folders of predictions"):
        LabelViewer.browse(films, (one, one, one))
    with pytest.raises(ValueError, match="names"):
        LabelViewer.browse(films, (one, folders / "two"), names=("A", "A"))
    with pytest.raises(ValueError, match="those of two models"):
        LabelViewer.browse(films, one, names=("A", "B"))
    with pytest.raises(ValueError, match="compared, not corrected"):
        LabelViewer.browse(films, (one, folders / "two"), editable=True)


def test_a_film_that_cannot_be_shown_says_why_and_the_rest_goes_on(folders):
    (folders / "one/afrontal.pxm").write_bytes(b"cut short")
    write_masks(folders / "two/bfrontal.pxm", ["heart", "spleen"])
    viewer = LabelViewer.browse(folders / "films", (folders / "one", folders / "two"))
    assert "afrontal.pxm" in viewer._message(0)["error"]
    assert "bfrontal.pxm: has masks of spleen" in viewer._message(1)["error"]
    assert "error" not in viewer._message(2)
    viewer.sort_by = "disagreement"
    assert viewer._items["scores"]["disagreement"] == [None] * 3


def test_one_image_and_masks_of_other_labels(tmp_path):
    for name, names in (("a", ["heart", "aorta"]), ("b", ["tube", "heart"])):
        write_masks(tmp_path / f"{name}.pxm", names)
    pixels = np.zeros((24, 30), np.uint8)
    files = tmp_path / "a.pxm", tmp_path / "b.pxm"
    viewer = LabelViewer(pixels, *files, names=("A", "B"))
    assert viewer._source.labels.names == ("heart", "aorta", "tube")
    message = viewer._first
    assert (message["unknown"], message["lacking"]) == ([2], [1])
