import pytest

from paxray_lib.labels.expressions import parse_expression, single_label
from paxray_lib.labels.table import LABELS, LabelSet


def test_names_groups_and_patterns_from_left_to_right():
    steps = parse_expression("lung_left - heart - diaphragms + rib_1", LABELS)
    assert steps == ((True, (2,)), (False, (17, 163, 164, 165)), (True, (55,)))
    assert parse_expression("rib_left_1? + ribs", LABELS) == ((True, tuple(range(54, 163))),)


def test_a_name_stands_for_all_labels_that_bear_it():
    assert parse_expression("mediastinum_upper", LABELS) == ((True, (12, 16)),)


def test_names_may_hold_signs_and_spaces():
    labels = LabelSet(["Left Lung", "a-b", "+c"])
    assert parse_expression(" Left Lung  -  a-b\t+ +c", labels) == (
        (True, (0,)),
        (False, (1,)),
        (True, (2,)),
    )


@pytest.mark.parametrize(
    "text",
    ["", " ", "heart +", "- heart", "heart + - aorta", "heart +  + aorta", "+", "heart - "],
)
def test_a_missing_label_is_an_error(text):
    with pytest.raises(ValueError, match="lacks a label before or after"):
        parse_expression(text, LABELS)


def test_an_unknown_label_has_near_matches():
    with pytest.raises(ValueError, match="'hart'; did you mean 'heart'"):
        parse_expression("lung_left - hart", LABELS)


def test_single_labels():
    found = [single_label(parse_expression(text, LABELS)) for text in ("heart", "heart - aorta")]
    assert found == [17, None]
    assert single_label(parse_expression("mediastinum_upper", LABELS)) is None
