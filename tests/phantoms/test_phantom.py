"""Phantoms: deterministic, anatomically consistent, varied."""

import numpy as np
import pytest
from scipy import ndimage

from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.phantom import make_phantom, render

SIZE, CASES = 96, 3
# outside of some images, and below a tight field
SOMETIMES = {f"c{i}" for i in range(1, 6)} | {f"l{i}" for i in range(1, 7)}
SOMETIMES |= {"sacrum", "cocygis", "t13"}
SOMETIMES |= {"rib_anterior_10", "rib_left_anterior_10", "rib_right_anterior_10"}


@pytest.fixture(scope="module")
def rendered():
    return [render(5, case, SIZE, varied=case % 2 == 1) for case in range(CASES)]


@pytest.fixture(scope="module")
def stacks(rendered):
    return {
        view: np.stack([case[view][1].unpack() for case in rendered])
        for view in ("frontal", "lateral")
    }


def mask(stacks, view, name):
    return stacks[view][:, LABELS.index(name)[0]]


def centre(stacks, view, name):
    """Return (cases, 2) centres in pixels, NaN where the label is outside the image."""
    return np.array(
        [
            ndimage.center_of_mass(m) if m.any() else (np.nan, np.nan)
            for m in mask(stacks, view, name)
        ]
    )


def test_the_same_seed_gives_the_same_pixels(rendered):
    again = render(5, 1, SIZE, varied=True)
    for view in again:
        assert np.array_equal(again[view][0], rendered[1][view][0])
        assert again[view][1] == rendered[1][view][1]
    for other in (render(6, 1, SIZE, varied=True), render(5, 1, SIZE)):
        assert not np.array_equal(other["frontal"][0], again["frontal"][0])


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_wholes_are_the_unions_of_their_parts(stacks, view):
    for whole, parts in enumerate(LABELS.children):
        if parts:
            assert np.array_equal(stacks[view][:, whole], stacks[view][:, list(parts)].any(1)), (
                LABELS.names[whole]
            )
    upper = LABELS.index("mediastinum_upper")
    assert np.array_equal(stacks[view][:, upper[0]], stacks[view][:, upper[1]])


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_labels_are_present(stacks, view):
    present = stacks[view].any((0, 2, 3))
    assert {LABELS.names[i] for i in np.flatnonzero(~present)} <= SOMETIMES


def test_sides_and_orientation(stacks):
    pairs = [(i, j) for i, j in enumerate(LABELS.mirror) if LABELS.side[i] == "left" and i != j]
    for i, j in pairs:
        left, right = (centre(stacks, "frontal", LABELS.names[k])[:, 1] for k in (i, j))
        # the patient's left is on the image's right
        assert not (left <= right).any(), LABELS.names[i]
    assert (
        centre(stacks, "lateral", "spine")[:, 1] > centre(stacks, "lateral", "heart")[:, 1]
    ).all()
    posterior, anterior = (
        centre(stacks, "lateral", f"rib_{part}_6")[:, 1] for part in ("posterior", "anterior")
    )
    assert (posterior > anterior).all()
    for upper, lower in (
        ("t3", "t9"),
        ("rib_2", "rib_9"),
        ("mediastinum_upper", "mediastinum_lower"),
        ("lung_left", "diaphragm"),
    ):
        assert (
            centre(stacks, "frontal", upper)[:, 0] < centre(stacks, "frontal", lower)[:, 0]
        ).all()
    heart, spine = (centre(stacks, "frontal", name)[:, 1] for name in ("heart", "spine"))
    assert (heart > spine).mean() > 0.5  # the apex points to the left


def test_lungs_are_darker_than_heart_and_spine(rendered, stacks):
    for case in range(CASES):
        image = rendered[case]["frontal"][0]
        heart, spine = (
            mask(stacks, "frontal", "heart")[case],
            mask(stacks, "frontal", "spine")[case],
        )
        lung = mask(stacks, "frontal", "lung_overall")[case] & ~heart & ~spine
        lung &= (
            ~mask(stacks, "frontal", "diaphragm")[case]
            & ~mask(stacks, "frontal", "mediastinum_overall")[case]
        )
        assert image[lung].mean() + 25 < image[heart].mean()
        assert image[lung].mean() + 25 < image[spine].mean()


def test_sizes_are_plausible(stacks):
    width = {
        name: mask(stacks, "frontal", name).any(1).sum(1) for name in ("heart", "lung_overall")
    }
    ratio = width["heart"] / width["lung_overall"]
    assert ((ratio > 0.33) & (ratio < 0.8)).all()


def test_phantoms_differ(stacks):
    """One phantom's masks are a poor guess for another's."""
    one, two = stacks["frontal"][0], stacks["frontal"][1]
    both = one.any((1, 2)) & two.any((1, 2))
    overlap = (one & two).sum((1, 2))[both] / (one | two).sum((1, 2))[both]
    assert overlap.mean() < 0.5


def test_the_anatomy_does_not_depend_on_the_size(rendered):
    large = render(5, 0, 2 * SIZE)["frontal"][1].resize(SIZE, SIZE)
    small = rendered[0]["frontal"][1]
    for name in ("lung_left", "heart", "spine", "aorta", "diaphragm", "rib_5"):
        a, b = large.union(name), small.union(name)
        assert (a & b).sum() / (a | b).sum() > 0.8, name


def test_volumes_fit_each_other():
    phantom = make_phantom(0, 0, SIZE)
    for volume, names in phantom.volumes:
        assert volume.shape == phantom.hu["frontal"].shape == phantom.hu["lateral"].shape
        assert set(np.unique(volume).tolist()) - {0} <= set(names)


def test_vessels_stay_in_their_lung():
    (regions, region_names), (organs, organ_names) = make_phantom(5, 0, SIZE).volumes
    for side in ("right", "left"):
        vessel = [value for value, name in organ_names.items() if name == (f"lung_{side}_vessel",)]
        lobes = [
            value for value, name in region_names.items() if name[0].startswith(f"lung_{side}")
        ]
        assert np.isin(regions[organs == vessel[0]], lobes).all()


@pytest.mark.slow
def test_mean_mask_is_a_poor_guess():
    stack = np.stack([render(0, case, 64)["frontal"][1].unpack() for case in range(24)])
    mean, test = stack[:16].mean(0) > 0.5, stack[16:]
    present = test.any((2, 3))
    overlap = (test & mean).sum((2, 3)) / np.maximum((test | mean).sum((2, 3)), 1)
    assert overlap[present].mean() < 0.35
