import json

import numpy as np
import pandas as pd
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.review.blind import preferences, unblind
from paxray_lib.review.decisions import Review, read_review
from paxray_lib.review.films import listed_films
from paxray_lib.viewer.widget import LabelViewer


def shift(sample):
    return PackedMasks(np.roll(sample.masks.data, 3, 1), sample.masks.labels)


def decide(viewer, *decisions):
    """What the page is told of decisions."""
    sent = []
    viewer.send = lambda content, buffers=None: sent.append(content["decided"])
    for decision in decisions:
        viewer._answer(viewer, {"decide": decision}, [])
    return sent


def test_decisions_are_written_and_the_review_goes_on_where_it_stopped(tiny, tmp_path):
    def browse(who):
        return LabelViewer.browse(PaxrayDataset(tiny), review=tmp_path, who=who)

    viewer = browse("Ada")
    assert viewer.position == 0
    names = viewer._source.names
    told = decide(viewer, [0, "accept", ""], [2, "doubt", "rib 6 is rib 5"], [0, "reject", ""])
    assert told[1] == {"position": 2, "decision": ["doubt", "rib 6 is rib 5"]}
    review = read_review(tmp_path)
    found = {name: (one.verdict, one.note, one.reviewer) for name, one in review.items()}
    assert found == {
        names[0]: ("reject", "", "Ada"),
        names[2]: ("doubt", "rib 6 is rib 5", "Ada"),
    }
    again = browse("Ada")
    assert again.position == again._first["index"] == 1
    expected = {"0": ["reject", ""], "2": ["doubt", "rib 6 is rib 5"]}
    assert again._review["decisions"] == viewer.get_state()["_review"]["decisions"] == expected
    assert set(names) <= {film.name for film in listed_films(tiny)}  # for `paxray import reviewed`


def test_what_someone_else_decided_is_told_first(tiny, tmp_path):
    viewer = LabelViewer.browse(PaxrayDataset(tiny), review=tmp_path, who="Ada")
    names = viewer._source.names
    Review(tmp_path, names, "Bo").decide(names[3], "reject", "dark")
    told = decide(viewer, [3, "accept", ""], [3, "accept", ""], [4, "fine", ""])
    assert told[0]["decision"] == ["reject", "dark"]
    assert "decided meanwhile: 'reject' by 'Bo'" in told[0]["error"]
    assert told[1] == {"position": 3, "decision": ["accept", ""]}
    assert "verdict" in told[2]["error"]
    assert told[2]["decision"] is None


def test_a_blind_review_tells_neither_names_nor_where_masks_are_from(tiny, tmp_path):
    dataset, key = PaxrayDataset(tiny), tmp_path / "keys/key.json"
    folder = tmp_path / "review"
    viewer = LabelViewer.browse(dataset, shift, review=folder, blind=key)
    source = viewer._source
    assert source.names == [f"{n:02}" for n in range(1, 2 * len(dataset) + 1)]
    own = {path.stem: k for k, path in enumerate(map(dataset.image_path, range(len(dataset))))}
    films = json.loads(key.read_text())["films"]
    order = [(films[name]["source"], own[films[name]["image"]]) for name in source.names]
    assert sorted(order) != order
    assert {role for role, _ in order} == {"truth", "prediction"}
    for index, (role, position) in enumerate(order):
        scene, sample = source.load(index), dataset[position]
        assert scene.prediction is None
        assert scene.target == (sample.masks if role == "truth" else shift(sample))
        message = json.dumps(viewer._message(index), default=lambda data: "")
        assert sample.name not in message
    decide(viewer, [0, "accept", ""], [5, "reject", "x"])
    table = unblind(folder, key)
    assert set(zip(table["source"], table["image"].map(own), strict=True)) == {order[0], order[5]}
    again = LabelViewer.browse(dataset, shift, review=folder, blind=key)
    assert again.position == 1


def test_a_blind_review_hides_what_the_truth_has_no_labels_of(tiny, tmp_path):
    dataset = PaxrayDataset(tiny)
    known = np.arange(len(dataset.labels)) > 20
    masks = dataset.masks

    def partly(index):
        return masks(index).knowing(known)

    dataset.masks = partly
    settings = {"review": tmp_path, "blind": tmp_path / "key.json"}
    source = LabelViewer.browse(dataset, lambda sample: masks(0), **settings)._source
    for index in range(len(source.names)):
        assert np.array_equal(source.load(index).target.known, known)
        assert not source.load(index).target.counts()[:21].any()


def test_what_a_blind_review_does_not_go_with(tiny, tmp_path):
    dataset, key = PaxrayDataset(tiny), tmp_path / "key.json"
    table = pd.DataFrame({"image": [entry.image for entry in dataset.entries], "x": 1.0})
    for settings in (
        {},
        {"review": tmp_path, "editable": True},
        {"review": tmp_path, "scores": table},
    ):
        with pytest.raises(ValueError, match="blind: needs review=FOLDER, and neither"):
            LabelViewer.browse(dataset, blind=key, **settings)
    assert not key.exists()


@pytest.fixture
def two_folders(tiny, tmp_path):
    """Masks of two models on four films, of labels that are not quite the same."""
    dataset = PaxrayDataset(tiny, split="test")
    folders = tmp_path / "unet", tmp_path / "segformer"
    for step, (folder, chosen) in enumerate(zip(folders, ((0, 40), (20, 60)), strict=True), 2):
        folder.mkdir()
        for k in range(len(dataset)):
            masks = dataset.masks(k)
            moved = PackedMasks(np.roll(masks.data, step, 1), masks.labels)
            moved.select(range(*chosen)).write(folder / f"{dataset.image_path(k).stem}.pxm")
    return tiny / "images", folders


def test_two_models_left_and_right_and_nobody_knows_which(two_folders, tmp_path):
    images, folders = two_folders
    key, review = tmp_path / "keys/key.json", tmp_path / "review"
    settings = {"names": ("unet", "segformer"), "review": review, "blind": key, "who": "Ada"}
    viewer = LabelViewer.browse(images, folders, **settings)
    assert (viewer.mode, viewer.names) == ("beside", ["left", "right"])
    source, films = viewer._source, json.loads(key.read_text())["films"]
    assert source.names == list(films) == ["1", "2", "3", "4"]
    named = LabelViewer.browse(images, folders)._source
    assert list(source.labels) == [name for name in named.labels if name in source.labels]
    assert len(source.labels) == 20  # those that both have
    seen = set()
    for index, film in enumerate(films.values()):
        scene, own = source.load(index), named.load(named.names.index(film["image"]))
        for side, masks in (("left", scene.target), ("right", scene.prediction)):
            model = own.target if film[side] == "unet" else own.prediction
            assert masks == model.relabel(source.labels)
            assert masks.known.all()
        message = json.dumps(viewer._message(index), default=lambda data: "")
        state = {
            key: value for key, value in viewer.get_state().items() if key not in ("_esm", "_css")
        }
        state = json.dumps(state, default=lambda data: "")
        for word in ("unet", "segformer", film["image"]):
            assert word not in message
            assert word not in state
        assert own.broken_rules() != viewer._message(index)["broken"] == []
        seen.add(film["left"])
    assert seen == {"unet", "segformer"}
    told = decide(
        viewer, [0, "left", ""], [1, "right", "ribs"], [2, "equal", ""], [3, "accept", ""]
    )
    assert "verdict" in told[3]["error"]
    first, second = films["1"]["left"], films["2"]["right"]
    expected = {name: (first, second).count(name) for name in ("unet", "segformer")} | {"equal": 1}
    found = preferences(review, key)
    assert dict(zip(found["preferred"], found["films"], strict=True)) == expected
    assert LabelViewer.browse(images, folders, **settings).position == 3


def test_two_models_without_a_common_label_or_film_are_not_compared_blindly(two_folders, tmp_path):
    images, (first, second) = two_folders
    for path in second.iterdir():
        PackedMasks.read(path).select([39]).write(path)
        PackedMasks.read(first / path.name).select([0]).write(first / path.name)
    settings = {"review": tmp_path / "review", "blind": tmp_path / "key.json"}
    with pytest.raises(ValueError, match="no label that both have"):
        LabelViewer.browse(images, (first, second), **settings)
    for folder, part in ((first, slice(2)), (second, slice(2, None))):
        for path in sorted(folder.iterdir())[part]:
            path.unlink()
    with pytest.raises(ValueError, match="no film that both have masks of"):
        LabelViewer.browse(images, (first, second), **settings)


def test_a_review_of_two_models_that_are_named(two_folders, tmp_path):
    viewer = LabelViewer.browse(*two_folders, review=tmp_path / "review")
    assert viewer.mode == "beside"
    assert viewer._review["verdicts"] == ["left", "equal", "right"]
    decide(viewer, [0, "right", ""])
    assert [one.verdict for one in read_review(tmp_path / "review").values()] == ["right"]
