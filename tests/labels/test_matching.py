from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.matching import match, unite
from paxray_lib.labels.table import LABELS, LabelSet

NAMES = st.lists(st.sampled_from(["heart", "aorta", "lung", "spine"]), min_size=1, max_size=8)


def pairs(labels, others):
    """The slow form: cross out what has been used."""
    left = list(others)
    for name in labels:
        place = left.index(name) if name in left else -1
        if place >= 0:
            left[place] = None
        yield place


@given(NAMES, NAMES)
def test_equal_names_pair_in_order_of_occurrence(names, others):
    assert match(LabelSet(names), LabelSet(others)).tolist() == list(pairs(names, others))


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_union_has_each_name_as_often_as_any_of_the_sets(sets):
    united = unite(map(LabelSet, sets))
    assert united.names[: len(sets[0])] == tuple(sets[0])
    for name in {name for names in sets for name in names}:
        assert united.names.count(name) == max(names.count(name) for names in sets)
    for names in sets:
        places = match(LabelSet(names), united)
        assert (places >= 0).all()
        assert len(set(places.tolist())) == len(names)


def test_the_repeated_name_of_the_published_table():
    assert unite([LABELS, LABELS]) == LABELS
    assert match(LABELS, LABELS).tolist() == list(range(166))
