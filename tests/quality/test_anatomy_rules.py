"""Rules between the labels of a set."""

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks import PackedMasks, moments
from paxray_lib.phantoms.phantom import render
from paxray_lib.quality.anatomy_rules import broken_rules, count_broken, rules


def test_rules_hold_for_parts_of_the_table():
    some = LabelSet(["rib_left_2", "heart", "rib_right_2", "rib_left_1", "mine"])
    found = {(rule.kind, some.names[rule.first], some.names[rule.second]) for rule in rules(some)}
    assert found == {
        ("left of", "rib_left_2", "rib_right_2"),
        ("below", "rib_left_2", "rib_left_1"),
    }


def test_the_rules_that_are_broken_are_named():
    _, masks = render(0, 0, 128)["frontal"]
    upper, lower = masks.labels.index("t5")[0], masks.labels.index("t6")[0]
    stack = masks.unpack()
    stack[[upper, lower]] = stack[[lower, upper]]
    found = moments(PackedMasks.pack(stack, masks.labels))
    broken = broken_rules(found, masks.labels, "frontal")
    assert ("below", lower, upper) in broken
    assert len(broken) == count_broken(found, masks.labels, "frontal")[0]
