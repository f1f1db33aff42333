import numpy as np
import pytest

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
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
        stack[LABELS.index(f"t{number}")[0], 8 * number : 8 * number + 4] = True
    masks = PackedMasks.pack(stack, LABELS)
    turned = PackedMasks(np.ascontiguousarray(masks.data[::-1]), LABELS)
    assert rules_kept(scene(masks)) == 1
    assert rules_kept(scene(turned)) == 0
    assert np.isnan(rules_kept(scene(PackedMasks(np.zeros_like(masks.data), LABELS))))


def test_sides_count_in_frontal_films_and_pixels_outside_of_the_whole_in_all():
    stack = np.zeros((166, 40, 20), bool)
    left, right, lungs = (LABELS.index(f"lung_{part}")[0] for part in ("left", "right", "overall"))
    stack[left, :, 10:] = stack[right, :, :10] = True
    stack[lungs] = True
    masks = PackedMasks.pack(stack, LABELS)
    assert rules_kept(scene(masks)) == 1
    assert rules_kept(scene(PackedMasks.pack(stack[:, :, ::-1], LABELS))) == pytest.approx(2 / 3)
    stack[lungs, :20] = False
    assert rules_kept(scene(PackedMasks.pack(stack, LABELS), view="lateral")) == 0.5


def test_an_image_that_cannot_be_read_has_no_score(masks):
    def load(index):
        if index:
            raise ValueError("broken")
        return scene(masks, masks)

    assert rank("iou_present", load, 2) == [1.0, None]


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
