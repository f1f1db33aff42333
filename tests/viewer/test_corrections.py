import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.viewer.widget import LabelViewer

HEART = LABELS.index("heart")[0]


def stroke(id, row=20, **fields):
    points = [[16 * 5 + 8, 16 * row + 8], [16 * 30 + 8, 16 * row + 8]]
    return {"id": id, "label": HEART, "mode": "add", "size": 32, "points": points, **fields}


class Written:
    """A journal in memory, which may be full."""

    def __init__(self, records=(), room=99):
        self.lines, self.room = list(records), room

    def append(self, record):
        if len(self.lines) >= self.room:
            raise OSError("journal.jsonl: no space left on device")
        self.lines.append(record)

    def records(self, image):
        return self.lines


@pytest.fixture
def sample(tiny):
    return PaxrayDataset(tiny)[0]


def answers(viewer, monkeypatch, strokes):
    sent = []
    monkeypatch.setattr(viewer, "send", lambda content, buffers=None: sent.append(content))
    viewer._answer(viewer, {"strokes": strokes}, [])
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
    assert viewer._message(0)["strokes"] == viewer.strokes() == [stroke("a")]
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


def test_a_stroke_is_kept_once_it_is_written(sample, monkeypatch):
    journal = Written(room=1)
    viewer = LabelViewer(sample.image, sample.masks, editable=True, journal=journal)
    first, second = answers(viewer, monkeypatch, [[0, stroke("a")], [0, stroke("b", row=40)]])
    assert "error" not in first
    assert "no space" in second["error"]
    assert viewer.strokes() == journal.lines == [stroke("a")]
    again = LabelViewer(sample.image, sample.masks, editable=True, journal=journal)
    assert again.corrected() == viewer.corrected()
    assert again.corrected() != sample.masks
    with pytest.raises(ValueError, match="editable=True"):
        LabelViewer(sample.image, sample.masks, journal=journal)


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
