import io

import numpy as np
import pytest
from PIL import Image as PilImage

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.picker import pick_labels
from paxray_lib.viz.compose import side_by_side, titled
from paxray_lib.viz.overlay import visualize_certain_labels


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(1)
    stacks = rng.random((2, len(LABELS), 24, 32)) < 0.1
    image = rng.integers(0, 256, (24, 32), np.uint8)
    return image, *(PackedMasks.pack(stack, LABELS) for stack in stacks)


def shown(picker):
    return np.asarray(PilImage.open(io.BytesIO(picker._view.value)))


def drawn(picker, scene, **style):
    return np.asarray(visualize_certain_labels(picker.selected, *scene[:2], **style))


def test_starts_with_lungs_and_heart_or_with_what_is_present(scene):
    image, masks, _ = scene
    picker = pick_labels(image, masks)
    assert picker.selected == ["lung_right", "lung_left", "heart"]
    np.testing.assert_array_equal(shown(picker), drawn(picker, scene))
    assert repr(picker) == "LabelPicker(24 x 32, 166 labels, 3 selected)"
    stack = np.zeros((2, 24, 32), bool)
    assert pick_labels(image, stack, labels=LabelSet(["a", "b"])).selected == []
    stack[1, 3, 3] = True
    assert pick_labels(image, stack, labels=LabelSet(["a", "b"])).selected == ["b"]


def test_selected_may_be_set_to_names_groups_and_patterns(scene):
    picker = pick_labels(*scene[:2], selected=["aorta*"])
    assert picker.selected == ["aorta", "aorta_descending", "aorta_arch", "aorta_ascending"]
    picker.selected = "mediastinum_upper"
    assert picker.selected == ["mediastinum_upper"]
    np.testing.assert_array_equal(shown(picker), drawn(picker, scene))
    with pytest.raises(ValueError, match="'heart'"):
        picker.selected = ["hart"]
    assert picker.selected == ["mediastinum_upper"]


def names_of(picker):
    """The list of names that is shown now."""
    (names,) = picker._box.children
    return names


def listed(picker):
    return [name for _, name in names_of(picker).options]


def test_clicking_in_the_list_redraws(scene):
    picker = pick_labels(*scene[:2])
    names_of(picker).value = ["spine"]
    assert picker.selected == ["spine"]
    np.testing.assert_array_equal(shown(picker), drawn(picker, scene))


def test_search_and_group_filter_the_list_and_keep_the_selection(scene):
    picker = pick_labels(*scene[:2])
    before = picker.selected
    picker._search.value = "RIB_left 12"
    parts = {"rib_left_12", "rib_left_anterior_12", "rib_left_posterior_12"}
    assert set(listed(picker)) == parts
    assert picker.selected == before
    names_of(picker).value = ["rib_left_12"]
    assert picker.selected == [*before, "rib_left_12"]
    picker._search.value = ""
    assert set(names_of(picker).value) == {*before, "rib_left_12"}
    picker._search.value = "great_vessels"  # a group's name lists its labels
    assert set(listed(picker)) == {LABELS.names[i] for i in LABELS.select("great_vessels")}
    picker._search.value = ""
    picker._group.value = "heart"
    assert listed(picker) == ["heart"]
    picker._search.value = "no such label"
    assert listed(picker) == []
    assert picker.selected == [*before, "rib_left_12"]


def test_a_click_into_the_list_before_a_search_is_what_was_clicked(scene):
    picker = pick_labels(*scene[:2], selected="heart")
    old = names_of(picker)
    spine = [name for _, name in old.options].index("spine")
    picker._search.value = "rib"
    old.index = [spine]  # as it arrives from the front end, by its place in the old list
    assert picker.selected == ["spine"]
    assert set(names_of(picker).value) == set()


def test_a_name_of_several_labels_shows_their_indices(scene):
    picker = pick_labels(*scene[:2], selected="mediastinum_upper")
    picker._search.value = "upper mediastinum"
    (text,) = [text.strip() for text, _ in names_of(picker).options]
    assert text == "mediastinum_upper * (12, 16)"
    assert list(names_of(picker).value) == ["mediastinum_upper"]


def test_a_label_that_is_not_annotated_says_so(scene):
    image, masks = scene[:2]
    known = np.array([name != "heart" for name in masks.labels])
    picker = pick_labels(image, masks.knowing(known), selected="aorta")
    texts = {name: text.strip() for text, name in names_of(picker).options}
    assert texts["heart"] == "heart – not annotated"
    assert texts["aorta"] == "aorta *"


def test_buttons_add_what_is_listed_and_clear(scene):
    picker = pick_labels(*scene[:2], selected="heart")
    picker._group.value = "vertebrae"
    picker._all.click()
    assert set(picker.selected) == {"heart"} | {LABELS.names[i] for i in LABELS.select("vertebrae")}
    picker._none.click()
    assert picker.selected == []
    np.testing.assert_array_equal(shown(picker), np.repeat(scene[0][..., None], 3, 2))


def test_opacity_and_outline_redraw(scene):
    picker = pick_labels(*scene[:2])
    picker._opacity.value = 100
    picker._outline.value = 0
    np.testing.assert_array_equal(shown(picker), drawn(picker, scene, alpha=255, outline=0))


def test_prediction_stands_beside_the_ground_truth(scene):
    image, masks, prediction = scene
    picker = pick_labels(image, masks, prediction)
    panels = [titled(np.asarray(visualize_certain_labels(picker.selected, image, m)), t)
              for m, t in ((masks, "ground truth"), (prediction, "prediction"))]  # fmt: skip
    np.testing.assert_array_equal(shown(picker), np.asarray(side_by_side(panels)))
    np.testing.assert_array_equal(shown(picker), np.asarray(picker.picture()))


def test_sizes_that_do_not_fit_are_refused(scene):
    image, masks, _ = scene
    with pytest.raises(ValueError, match="24 rows and 32 columns, but the masks 12 and 16"):
        pick_labels(image, masks.resize(12, 16))
    with pytest.raises(ValueError, match="predicted masks 12 and 16"):
        pick_labels(image, masks, masks.resize(12, 16))


def test_labels_of_both_can_be_picked(scene):
    image, masks, _ = scene
    few = np.ones((1, 24, 32), bool)
    picker = pick_labels(image, masks, few, labels=LabelSet(["tube"]), selected=["tube", "heart"])
    assert repr(picker) == "LabelPicker(24 x 32, 167 labels, 2 selected)"
