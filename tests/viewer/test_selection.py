import pytest

from paxray_lib.labels.table import LABELS
from paxray_lib.viewer.picker import search_labels

SEARCHES = [
    "",
    "rib left",
    "LEFT rib 1",
    "rib_left_3",
    "great_ves",
    "upper_mediastinum",
    "xyz",
    "_",
]
"""Texts that both searches, in Python and in the viewer's page, must answer alike."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", LABELS.names),
        ("heart", ["heart"]),
        ("arch  AORTA", ["aorta_arch"]),
        ("mediastinum_upper", ["mediastinum_upper", "mediastinum_upper"]),
        ("xyz", []),
    ],
)
def test_every_word_must_occur(text, expected):
    assert [LABELS.names[i] for i in search_labels(LABELS, text)] == list(expected)


def test_words_in_any_order_and_underscores_as_spaces():
    found = search_labels(LABELS, "rib left")
    assert found == search_labels(LABELS, "LEFT_rib")
    assert [LABELS.names[i] for i in found] == [
        name for name in LABELS.names if "rib" in name and "left" in name
    ]


def test_a_group_lists_its_labels():
    assert search_labels(LABELS, "great ves") == LABELS.select("great_vessels")
