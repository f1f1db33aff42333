"""Boundary scores against MONAI and against a loop over all pairs of boundary pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paxray_lib.labels.table import LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.metrics.surface import Surface, surface


def pack(stack):
    return PackedMasks.pack(stack, LabelSet([f"label {i}" for i in range(len(stack))]))


def edge_points(mask):
    """Pixels of a mask with a neighbour above, below, left or right that is not in it, or not in
    the image.
    """
    found = []
    for y, x in np.argwhere(mask):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [
            0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and mask[v, u] for v, u in around
        ]
        if not all(inside):
            found.append((y, x))
    return found


def score_slowly(pred, target, tolerance):
    edges = [edge_points(pred), edge_points(target)]
    if not edges[0] and not edges[1]:
        return np.nan, np.nan
    if not edges[0] or not edges[1]:
        return 0.0, np.inf
    ways = []
    for here, there in (edges, edges[::-1]):
        ways.append([min(np.hypot(y - v, x - u) for v, u in there) for y, x in here])
    within = sum(distance <= tolerance for way in ways for distance in way)
    return within / (len(edges[0]) + len(edges[1])), max(np.percentile(way, 95) for way in ways)


pairs = st.tuples(st.integers(1, 10), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@given(pairs, st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0]))
def test_scores_equal_a_loop_over_pairs_of_boundary_pixels(pair, tolerance):
    found = surface(pack(pair[0]), pack(pair[1]), tolerance)
    expected = np.array([score_slowly(*masks, tolerance) for masks in zip(*pair, strict=True)])
    np.testing.assert_allclose(found.nsd[0], expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found.hd95[0], expected[:, 1], rtol=1e-6)
    assert found.within.dtype == found.total.dtype == np.int64


def blobs(rng, labels, size):
    """Smooth random shapes of many sizes, some of them empty, some up to the border."""
    stack = np.zeros((labels, size, size), bool)
    rows, columns = np.indices((size, size))
    for mask in stack:
        for _ in range(rng.integers(0, 4)):
            (y, x), radii = rng.uniform(-5, size + 5, 2), rng.uniform(1, size / 2, 2)
            mask |= ((rows - y) / radii[0]) ** 2 + ((columns - x) / radii[1]) ** 2 < 1
    return stack


@pytest.mark.filterwarnings("ignore")  # MONAI warns of its own deprecations and of each empty mask
@pytest.mark.parametrize("kind", ["noise", "blobs"])
def test_scores_equal_those_of_monai(kind):
    from monai import metrics

    rng = np.random.default_rng(3)
    if kind == "noise":
        pred, target = (rng.random((40, 30, 37)) < rng.random((40, 1, 1)) for _ in range(2))
    else:
        pred, target = blobs(rng, 40, 96), blobs(rng, 40, 96)
    target[:3] = pred[:3]
    pred[3:6] = target[5:8] = False
    arguments = torch.from_numpy(pred)[None].float(), torch.from_numpy(target)[None].float()
    nsd = metrics.compute_surface_dice(
        *arguments, class_thresholds=[2.0] * 40, include_background=True
    )
    hd95 = metrics.compute_hausdorff_distance(
        *arguments, include_background=True, percentile=95
    ).numpy()
    largest = metrics.compute_hausdorff_distance(*arguments, include_background=True).numpy()
    found = surface(pack(pred), pack(target))
    np.testing.assert_allclose(found.nsd, nsd.numpy(), rtol=1e-6)
    # here MONAI's percentile is NaN, as the difference of two infinite neighbours
    one_sided = np.isinf(largest)
    np.testing.assert_array_equal(np.isinf(found.hd95), one_sided)
    np.testing.assert_allclose(found.hd95[~one_sided], hd95[~one_sided], rtol=1e-5)
    assert np.isinf(found.hd95).sum() >= 2
    assert np.isnan(found.nsd).sum() >= 1


def test_degenerate_masks():
    empty, dot, full = np.zeros((3, 8, 8), bool)
    dot, full = dot.copy(), ~full
    dot[2, 5] = True
    far = np.zeros((8, 8), bool)
    far[5, 1] = True
    found = surface(
        pack([empty, dot, empty, dot, dot, full]), pack([empty, empty, dot, dot, far, full])
    )
    np.testing.assert_array_equal(found.nsd[0], [np.nan, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(found.hd95[0], [np.nan, np.inf, np.inf, 0, 5, 0])


def test_masks_that_touch_the_border_have_a_boundary_there():
    full = np.ones((1, 6, 9), bool)
    assert surface(pack(full), pack(full)).total.tolist() == [[2 * (2 * 6 + 2 * 9 - 4)]]


def test_boundaries_join_and_select_images():
    rng = np.random.default_rng(0)
    parts = [surface(pack(blobs(rng, 5, 20)), pack(blobs(rng, 5, 20))) for _ in range(3)]
    whole = Surface.concat(parts)
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(whole[[i]].nsd, part.nsd)
        np.testing.assert_array_equal(whole[[i]].hd95, part.hd95)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": pack(np.zeros((2, 4, 5), bool))}, "one shape"),
        (
            {"target": PackedMasks.pack(np.zeros((2, 4, 4), bool), LabelSet(["a", "b"]))},
            "same labels",
        ),
        ({"tolerance": -1.0}, "tolerance -1.0"),
        ({"tolerance": float("nan")}, "tolerance nan"),
    ],
)
def test_errors_say_what_is_wrong(change, words):
    masks = pack(np.zeros((2, 4, 4), bool))
    with pytest.raises(ValueError, match=words):
        surface(**{"pred": masks, "target": masks, **change})
