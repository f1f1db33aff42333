import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.measures import moments
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.strokes import all_of
from paxray_lib.quality.anatomy_rules import count_broken
from paxray_lib.viewer.ranking import iou_present, rank, rules_kept
from paxray_lib.viewer.scene import Scene
from paxray_lib.viewer.widget import LabelViewer


def scene(target, prediction=None, view="frontal"):
    shape = (target if prediction is None else prediction).data.shape[:2]
    return Scene("x", np.zeros(shape, np.uint8), target, prediction, view)


@pytest.fixture(scope="module")
def masks(tiny):
    return PaxrayDataset(tiny)[0].masks


def test_the_mean_iou_is_that_of_labels_in_either_stack(masks):
    assert iou_present(scene(masks, masks)) == 1
    assert np.isnan(iou_present(scene(masks)))
    stack = np.zeros((166, 10, 10), bool)
    stack[17, :4] = stack[18, :2] = True
    half = stack.copy()
    half[17, :2] = False
    found = scene(PackedMasks.pack(stack, LABELS), PackedMasks.pack(half, LABELS))
    assert iou_present(found) == 0.75


def test_a_film_upside_down_breaks_the_rules_of_above_and_below():
    stack = np.zeros((166, 40, 20), bool)
    for number in range(1, 5):
        label = LABELS.index(f"t{number}")[0]
        for part in (label, *all_of(LABELS.parents, label)):
            stack[part, 8 * number : 8 * number + 4] = True
    masks = PackedMasks.pack(stack, LABELS)
    turned = PackedMasks(np.ascontiguousarray(masks.data[::-1]), LABELS)
    assert rules_kept(masks, "frontal") == 1
    broken, rules = count_broken(moments(turned), LABELS, "frontal")
    assert broken == 3
    assert rules_kept(turned, "frontal") == 1 - 3 / rules
    assert np.isnan(rules_kept(PackedMasks(np.zeros_like(masks.data), LABELS), "frontal"))


def test_sides_count_in_frontal_films_and_pixels_outside_of_the_whole_in_all():
    stack = np.zeros((166, 40, 20), bool)
    left, right, lungs = (LABELS.index(f"lung_{part}")[0] for part in ("left", "right", "overall"))
    stack[left, :, 10:] = stack[right, :, :10] = True
    stack[lungs] = True
    masks = PackedMasks.pack(stack, LABELS)
    assert rules_kept(masks, "frontal") == 1
    mirrored = PackedMasks.pack(stack[:, :, ::-1], LABELS)
    assert rules_kept(mirrored, "frontal") == pytest.approx(2 / 3)
    stack[lungs, :20] = False
    assert rules_kept(PackedMasks.pack(stack, LABELS), "lateral") == 0


def test_an_image_that_cannot_be_read_has_no_score(masks):
    def load(index):
        if index:
            raise ValueError("broken")
        return scene(masks, masks)

    assert rank("iou_present", load, range(2)) == {0: 1.0, 1: None}


def test_every_viewer_of_many_images_can_sort(tiny):
    def shift(sample):
        by = int(sample.name[4:7])
        return PackedMasks(np.roll(sample.masks.data, by, 1), sample.masks.labels)

    viewer = LabelViewer.browse(PaxrayDataset(tiny), shift)
    viewer.sort_by = "iou_present"
    scores = viewer._items["scores"]["iou_present"]
    names = viewer._source.names
    assert [score == 1 for score in scores] == ["case000" in name for name in names]
    alone = LabelViewer.browse(PaxrayDataset(tiny))
    with pytest.raises(ValueError, match="sort_by"):
        alone.sort_by = "iou_present"
    alone.sort_by = "rules_kept"
    assert all(0 < score <= 1 for score in alone._items["scores"]["rules_kept"])


def test_what_is_corrected_is_scored_anew_when_it_is_sorted_again(tiny, tmp_path):
    lungs = LABELS.index("lung_overall")[0]
    dataset = PaxrayDataset(tiny)
    viewer = LabelViewer.browse(
        dataset, lambda sample: sample.masks, editable=True, corrections=tmp_path
    )
    viewer.send = lambda content, buffers=None: None
    for column in ("rules_kept", "iou_present"):
        viewer.sort_by = column
    before = viewer._items["scores"]
    record = {"id": "a", "mode": "erase", "label": lungs, "points": [[160, 160]], "tree": False}
    viewer._answer(viewer, {"strokes": [[1, {**record, "size": 1600}]]}, [])
    for column in ("rules_kept", "iou_present"):
        viewer.sort_by = column
        scores, values = before[column], viewer._items["scores"][column]
        assert values[1] < scores[1]
        assert values[0] == scores[0]
