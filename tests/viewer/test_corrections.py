import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
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
    return [content["kept"] for content in sent]


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
    assert viewer._message(0)["strokes"] == viewer.strokes() == [stroke("a", image="image")]
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
    assert answer == {"id": "a", "error": "no space left on device"}
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
