import json
import shutil
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from PIL import Image as PilImage

from paxray_lib.data.datafile import Entry, write_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.review.journal import Journal
from paxray_lib.viewer.widget import LabelViewer

HEART = LABELS.index("heart")[0]


def stroke(id, row=20, **fields):
    points = [[16 * 5 + 8, 16 * row + 8], [16 * 30 + 8, 16 * row + 8]]
    return {"id": id, "label": HEART, "mode": "add", "size": 32, "points": points, **fields}


@pytest.fixture
def sample(tiny):
    return PaxrayDataset(tiny)[0]


def answers(viewer, monkeypatch, strokes):
    sent = []
    monkeypatch.setattr(viewer, "send", lambda content, buffers=None: sent.append(content))
    viewer._answer(viewer, {"strokes": strokes}, [])
    monkeypatch.undo()
    return [content["kept"] for content in sent if "kept" in content]


def test_strokes_change_the_masks_and_what_is_drawn(sample, monkeypatch):
    viewer = LabelViewer(sample.image, sample.masks, selected="heart", editable=True)
    before = np.asarray(viewer.to_image())
    assert viewer.corrected() == sample.masks
    kept = answers(viewer, monkeypatch, [[0, stroke("a")], [0, stroke("a", row=40)]])
    assert [one["id"] for one in kept] == ["a", "a"]
    masks = viewer.corrected().unpack()[HEART]
    assert masks[20, 5:31].all()
    assert (masks[40] == sample.masks.unpack()[HEART][40]).all()  # the same id is the same stroke
    assert (np.asarray(viewer.to_image()) != before).any()
    (record,) = viewer.strokes()
    assert record == {**stroke("a", image="image"), "film": record["film"]}
    assert viewer._message(0)["strokes"] == [record]
    answers(viewer, monkeypatch, [[0, {"id": "b", "mode": "undo"}]])
    assert viewer.corrected() == sample.masks


def test_a_wrong_stroke_is_refused_and_changes_nothing(sample, monkeypatch):
    viewer = LabelViewer(sample.image, sample.masks, editable=True)
    wrong = [[0, stroke("a", label=999)], [7, stroke("b")], [0, stroke("c", points=[])], ["x", {}]]
    assert all("error" in one for one in answers(viewer, monkeypatch, wrong))
    assert viewer.strokes() == []
    fixed = LabelViewer(sample.image, sample.masks)
    (answer,) = answers(fixed, monkeypatch, [[0, stroke("a")]])
    assert "not editable" in answer["error"]


def test_a_stroke_is_kept_once_it_is_written(sample, monkeypatch, tmp_path):
    def viewer():
        settings = {"editable": True, "corrections": tmp_path}
        return LabelViewer(sample.image, sample.masks, **settings)

    first = viewer()
    (answer,) = answers(first, monkeypatch, [[0, stroke("a")]])
    assert "error" not in answer
    assert viewer().corrected() == first.corrected() != sample.masks  # of a kernel that died
    other, late = viewer(), viewer()
    late.corrected()
    answers(other, monkeypatch, [[0, stroke("b", row=30)]])
    (answer,) = answers(late, monkeypatch, [[0, stroke("c", row=40)]])
    assert "someone else" in answer["error"]
    assert [record["id"] for record in viewer().strokes()] == ["a", "b"]
    with pytest.raises(ValueError, match="editable=True"):
        LabelViewer(sample.image, sample.masks, corrections=tmp_path)


def test_a_full_disk_is_told_and_the_stroke_is_not_applied(sample, monkeypatch, tmp_path):
    viewer = LabelViewer(sample.image, sample.masks, editable=True, corrections=tmp_path)

    def full(journal, record):
        raise OSError("no space left on device")

    monkeypatch.setattr(Journal, "append", full)
    (answer,) = answers(viewer, monkeypatch, [[0, stroke("a")]])
    assert answer == {"id": "a", "error": "no space left on device", "final": False}
    assert viewer.corrected() == sample.masks


def test_saved_masks_are_a_data_set_and_the_start_of_further_strokes(tiny, monkeypatch, tmp_path):
    dataset = PaxrayDataset(tiny)
    viewer = LabelViewer.browse(dataset, editable=True, corrections=tmp_path)
    name = viewer._source.names[2]
    answers(viewer, monkeypatch, [[2, stroke("a")]])
    masks = viewer.corrected(2)
    path = viewer.save(name, "me")
    saved = PaxrayDataset(tmp_path)
    assert path.is_file()
    assert len(saved) == 1
    assert saved[0].masks == masks == viewer.corrected(2)
    assert viewer.strokes(2) == []
    answers(viewer, monkeypatch, [[2, stroke("a")]])  # the page had not heard that it was kept
    assert viewer.strokes(2) == []
    answers(viewer, monkeypatch, [[2, stroke("b", row=40)]])
    again = LabelViewer.browse(dataset, editable=True, corrections=tmp_path)
    assert again.corrected(2) == viewer.corrected(2) != masks
    again.save(2, "me")
    with pytest.raises(ValueError, match="meanwhile"):
        viewer.save(2, "you")


def test_corrections_are_shown_without_the_predictions_that_brought_their_labels(
    tmp_path, monkeypatch
):
    names, films, folder = ["heart", "lung_left"], tmp_path / "films", tmp_path / "c"
    for place, own in ((films / "labels", names), (tmp_path / "p", ["aorta", "heart"])):
        place.mkdir(parents=True)
        PackedMasks.pack(np.zeros((2, 24, 40), bool), LabelSet(own)).write(place / "a.pxm")
    for name, step in (("a", 1), ("b", 2)):
        film = step * np.arange(24 * 40, dtype=np.uint8).reshape(24, 40)
        PilImage.fromarray(film).save(films / f"{name}.png")
    entries = [Entry("a.png", "labels/a.pxm", "a", "frontal"), Entry("b.png", None, "b", "frontal")]
    write_datafile(films / "paxray.json", LabelSet(names), {"train": entries})
    dataset = PaxrayDataset(films)

    def viewer(predictions=None):
        return LabelViewer.browse(dataset, predictions, editable=True, corrections=folder)

    first = viewer(tmp_path / "p")
    aorta = {"label": 2, "name": "aorta"}
    strokes = [stroke("a", **aorta, mode="known"), stroke("b", **aorta)]
    answers(first, monkeypatch, [[0, one] for one in strokes])
    with pytest.raises(ValueError, match="aorta, but label 2 is none; open it with the masks"):
        viewer().corrected()
    masks = first.corrected()
    first.save(0)
    for again in (viewer(), viewer(tmp_path / "p")):
        assert again._labels["names"] == [*names, "aorta"]
        assert again.corrected() == masks
        assert masks.counts()[2] > 0
    again = viewer()
    assert again.corrected(1).known.tolist() == [True, True, False]  # nobody said it is not there
    answers(again, monkeypatch, [[0, stroke("c", **aorta, row=9)], [1, stroke("d", label=0)]])
    for k in (0, 1):
        masks = again.corrected(k)
        again.save(k)
        assert viewer().corrected(k) == PaxrayDataset(folder).masks(k) == masks


def test_the_label_that_a_piece_gets_is_told_by_name_too(sample, monkeypatch):
    viewer = LabelViewer(sample.image, sample.masks, editable=True)
    rename = stroke("a", name="heart", mode="rename", to=0, to_name="aorta")
    (answer,) = answers(viewer, monkeypatch, [[0, rename]])
    assert "on aorta, but label 0 is lung_overall" in answer["error"]
    assert viewer.strokes() == []
    right = rename | {"to_name": LABELS.names[0]}
    (answer,) = answers(viewer, monkeypatch, [[0, right]])
    assert "error" not in answer


def test_saving_asks_for_a_folder_and_for_different_names(sample, tiny, monkeypatch, tmp_path):
    for settings in ({}, {"editable": True}):
        with pytest.raises(ValueError, match="corrections=FOLDER"):
            LabelViewer(sample.image, sample.masks, **settings).save()
    dataset = PaxrayDataset(tiny)
    monkeypatch.setattr(dataset, "entries", [dataset.entries[0]] * 2)
    with pytest.raises(ValueError, match="different names"):
        LabelViewer.browse(dataset, editable=True, corrections=tmp_path)


def test_without_masks_the_prediction_is_corrected_or_nothing(sample, tiny, monkeypatch):
    viewer = LabelViewer(sample.image, prediction=sample.masks, editable=True)
    assert viewer.corrected() == sample.masks
    answers(
        viewer, monkeypatch, [[0, stroke("a", mode="erase")], [0, {**stroke("b"), "mode": "copy"}]]
    )
    assert viewer.corrected().counts()[HEART] == sample.masks.counts()[HEART]
    dataset = PaxrayDataset(tiny)
    many = LabelViewer.browse(dataset, lambda s: s.masks, editable=True)
    answers(many, monkeypatch, [[3, stroke("a")]])
    assert many.corrected("case001lateral") != dataset[3].masks
    assert many.corrected(0) == dataset[0].masks


def test_after_a_refused_stroke_the_later_ones_wait_for_it(sample, monkeypatch, tmp_path):
    viewer = LabelViewer(sample.image, sample.masks, editable=True, corrections=tmp_path)
    a, b, c = ([0, stroke(name, row)] for name, row in (("a", 20), ("b", 30), ("c", 40)))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", mock.Mock(side_effect=OSError("no space left on device")))
        (answer,) = answers(viewer, patch, [a])
        assert "no space" in answer["error"]
    (answer,) = answers(viewer, monkeypatch, [b])  # there is space again
    assert "before it" in answer["error"]
    assert viewer.strokes() == []
    kept = answers(viewer, monkeypatch, [a, b, c])
    assert not [one for one in kept if "error" in one]
    assert [record["id"] for record in viewer.strokes()] == ["a", "b", "c"]


def test_strokes_and_masks_of_one_film_do_not_come_up_on_another(sample, monkeypatch, tmp_path):
    def viewer(pixels):
        return LabelViewer(pixels, sample.masks, editable=True, corrections=tmp_path)

    first, turned = viewer(sample.image), sample.image[::-1].copy()  # both called "image"
    answers(first, monkeypatch, [[0, stroke("a")]])
    second = viewer(turned)
    with pytest.raises(ValueError, match=r"journal\.jsonl: has strokes on another film called 'im"):
        second.corrected()
    assert "another film" in second._message(0)["error"]
    first.save()
    with pytest.raises(ValueError, match="of another film that was called 'image'; give a file"):
        viewer(turned).corrected()
    (answer,) = answers(viewer(sample.image), monkeypatch, [[0, stroke("b", film="other")]])
    assert answer["final"]


def test_corrected_films_stay_in_their_split(tiny, monkeypatch, tmp_path):
    dataset = PaxrayDataset(tiny, split="test")
    entry = replace(dataset.entries[1], case="somebody", view="frontal")
    monkeypatch.setattr(dataset, "entries", [dataset.entries[0], entry])
    viewer = LabelViewer.browse(dataset, editable=True, corrections=tmp_path)
    answers(viewer, monkeypatch, [[1, stroke("a")]])
    viewer.save(1)
    assert len(PaxrayDataset(tmp_path, split="train")) == 0
    (saved,) = PaxrayDataset(tmp_path, split="test").entries
    assert (saved.case, saved.view) == ("somebody", "frontal")


def test_one_film_has_one_name(tiny, monkeypatch, tmp_path):
    film = PaxrayDataset(tiny).image_path(0)
    (tmp_path / "films/deep").mkdir(parents=True)
    (tmp_path / "masks/deep").mkdir(parents=True)
    path = shutil.copy(film, tmp_path / "films/deep")
    masks = PaxrayDataset(tiny).masks(0)
    masks.write(tmp_path / "masks/deep" / f"{film.stem}.pxm")
    settings = {"editable": True, "corrections": tmp_path / "corrected"}
    many = LabelViewer.browse(tmp_path / "films", tmp_path / "masks", **settings)
    answers(many, monkeypatch, [[0, stroke("a")]])
    many.save()
    with pytest.raises(ValueError, match=f"same film as '{film.stem}', under another name"):
        LabelViewer(path, masks, **settings).corrected()


def test_a_kill_between_masks_and_journal_applies_no_stroke_twice(sample, monkeypatch, tmp_path):
    def viewer():
        return LabelViewer(sample.image, sample.masks, editable=True, corrections=tmp_path)

    first = viewer()
    answers(first, monkeypatch, [[0, stroke("a")], [0, stroke("b", row=40)]])
    answers(first, monkeypatch, [[0, {"id": "c", "mode": "undo"}]])
    masks = first.corrected()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "saved", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first.save()
    again = viewer()
    assert again.strokes() == []
    assert again.corrected() == masks
    answers(again, monkeypatch, [[0, stroke("d", row=50)]])
    third = viewer()
    assert [record["id"] for record in third.strokes()] == ["d"]
    assert third.corrected() == again.corrected()


def test_a_page_that_is_loaded_again_has_what_was_made_and_saved(sample, monkeypatch, tmp_path):
    viewer = LabelViewer(sample.image, sample.masks, editable=True, corrections=tmp_path)
    state = viewer.get_state()["_first"]
    answers(viewer, monkeypatch, [[0, stroke("a")]])
    assert state["strokes"] == []  # no list that changes later
    assert [record["id"] for record in viewer.get_state()["_first"]["strokes"]] == ["a"]
    viewer.save()
    saved = viewer.get_state()["_first"]
    assert saved["strokes"] == []
    assert saved["target"] != state["target"]


def test_who_corrects_where_the_account_has_no_name(sample, monkeypatch, tmp_path):
    monkeypatch.setattr("getpass.getuser", mock.Mock(side_effect=KeyError("uid not found: 1234")))
    for name, who in (("unknown", None), ("Ada", "Ada")):
        folder = tmp_path / name
        viewer = LabelViewer(sample.image, sample.masks, editable=True, corrections=folder, who=who)
        viewer.save()
        about = json.loads((folder / "labels/image.correction.json").read_text())
        assert about["who"] == name
