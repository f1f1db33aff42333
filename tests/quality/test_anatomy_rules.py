"""Rules between the labels of a set."""

from paxray_lib.labels.table import LabelSet
from paxray_lib.quality.anatomy_rules import rules


def test_rules_hold_for_parts_of_the_table():
    some = LabelSet(["rib_left_2", "heart", "rib_right_2", "rib_left_1", "mine"])
    found = {(rule.kind, some.names[rule.first], some.names[rule.second]) for rule in rules(some)}
    assert found == {
        ("left of", "rib_left_2", "rib_right_2"),
        ("below", "rib_left_2", "rib_left_1"),
    }
