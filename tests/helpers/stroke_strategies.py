"""Random strokes over a small stack with a tree of labels, for Hypothesis."""

import numpy as np
from hypothesis import strategies as st

from paxray_lib.labels.table import LabelSet

#: Whole, parts of parts, and a name of no table: 10 labels.
NAMES = [
    "ribs",
    "rib_left_5",
    "rib_left_anterior_5",
    "rib_left_posterior_5",
    "rib_left_6",
    "rib_left_anterior_6",
    "rib_left_posterior_6",
    "rib_anterior_6",
    "heart",
    "something",
]
LABELS = LabelSet(NAMES)
HEIGHT, WIDTH = 14, 19

_label = st.integers(0, len(NAMES) - 1)
_point = st.tuples(st.integers(-40, 16 * WIDTH + 40), st.integers(-40, 16 * HEIGHT + 40)).map(list)
_centre = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1)).map(
    lambda p: [16 * p[0] + 8, 16 * p[1] + 8]  # where ties are
)
_points = st.lists(_point | _centre, min_size=1, max_size=6)


def _stroke(**fields):
    return st.fixed_dictionaries({"label": _label, "tree": st.booleans(), **fields})


strokes = st.one_of(
    _stroke(
        mode=st.sampled_from(["add", "erase"]),
        shape=st.just("brush"),
        points=_points,
        size=st.integers(1, 160) | st.sampled_from([16, 32, 64, 96]),
    ),
    _stroke(mode=st.sampled_from(["add", "erase"]), shape=st.just("polygon"), points=_points),
    _stroke(mode=st.just("fill"), points=st.lists(_centre, min_size=1, max_size=1)),
    _stroke(mode=st.just("rename"), points=st.lists(_centre, min_size=1, max_size=1), to=_label),
    _stroke(mode=st.just("copy")),
    _stroke(mode=st.just("known"), value=st.booleans()),
    _stroke(mode=st.sampled_from(["undo", "redo"])),
)


def closed_stack(seed):
    """A random (L, H, W) stack in which wholes hold their parts."""
    stack = np.random.default_rng(seed).random((len(NAMES), HEIGHT, WIDTH)) < 0.12
    for _ in NAMES:
        for part, wholes in enumerate(LABELS.parents):
            for whole in wholes:
                stack[whole] |= stack[part]
    return stack
