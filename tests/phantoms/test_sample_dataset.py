"""Phantoms: deterministic, anatomically consistent, varied; the sample data set on disk."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.phantoms.appearance import draw_look, form_image, opening, window
from paxray_lib.phantoms.body import draw_body
from paxray_lib.phantoms.phantom import make_phantom, render
from paxray_lib.phantoms.sample_dataset import generate_sample, split_cases

SIZE, CASES = 96, 3
SOMETIMES = {
    "c1",
    "c2",
    "c3",
    "c4",
    "c5",
    "l1",
    "l2",
    "l3",
    "l4",
    "l5",
    "l6",
    "sacrum",
    "cocygis",
    "t13",
}
# below a tight field
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


def test_only_varied_phantoms_lie_in_bed_or_have_haze_and_wires():
    seeds = [np.random.default_rng(seed) for seed in range(60)]
    plain = [(draw_body(rng), draw_look(rng)) for rng in seeds]
    assert all(body.breath >= -1 for body, _ in plain)
    assert all(
        (look.zoom, look.haze, look.wires, look.black, look.white) == (1, 0, 0, 0, 1)
        for _, look in plain
    )
    varied = [(draw_body(rng, varied=True), draw_look(rng, varied=True)) for rng in seeds]
    assert min(body.breath for body, _ in varied) < -1.5
    for name in ("haze", "wires", "black"):
        assert any(getattr(look, name) for _, look in varied), name
    assert max(look.zoom for _, look in varied) > 1


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


def test_what_the_collimator_hides_is_black_and_has_no_label():
    looks = [(case, draw_look(np.random.default_rng([5, case, 1]))) for case in range(40)]
    case, look = next((case, look) for case, look in looks if min(look.collimation[:2]) > 0.02)
    image, masks = render(5, case, SIZE)["frontal"]
    hidden = np.ones((SIZE, SIZE), bool)
    hidden[opening(look, SIZE)] = False
    assert hidden.any()
    assert not image[hidden].any()
    assert not masks.data[hidden].any()


@given(st.integers(0, 1000), st.integers(32, 600), st.booleans())
def test_the_window_lies_in_the_field(seed, size, varied):
    whole, top, left = window(draw_look(np.random.default_rng(seed), varied), size)
    assert 0 <= top <= whole - size
    assert 0 <= left <= whole - size


def test_haze_and_markers_lighten_a_picture():
    plain = replace(
        draw_look(np.random.default_rng(0)),
        haze=0.0,
        marker=False,
        wires=0,
        collimation=(0, 0, 0, 0),
    )
    depth, lung = np.full((SIZE, SIZE), 2.0), np.zeros((SIZE, SIZE), bool)
    lung[20:60, 20:60] = True
    depth[lung] = 1.0

    def draw(look):
        return form_image(depth, lung, look, 3.0, np.random.default_rng(1)).astype(int)

    before = draw(plain)
    assert draw(replace(plain, haze=1.0))[25:55, 25:55].mean() > before[25:55, 25:55].mean() + 5
    marked = draw(replace(plain, marker=True, wires=3))
    assert (marked >= before).all()
    assert (marked > before).any()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample")
    generate_sample(root, cases=4, size=64, seed=3, workers=1)
    return root


def test_sample_layout(sample):
    datafile = read_datafile(sample)
    assert datafile.labels == LABELS
    assert {name: len(entries) for name, entries in datafile.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    assert datafile.extra["synthetic"] is True
    assert "CC0" in datafile.extra["license"]
    cases = [{entry.case for entry in entries} for entries in datafile.splits.values()]
    assert not set.intersection(*cases)
    for split in datafile.splits:
        for item in PaxrayDataset(sample, split=split):
            assert item.image.shape == item.masks.shape[1:] == (64, 64)
    quarter, half, full = (
        {entry.image for entry in read_datafile(sample, name).split("train")}
        for name in ("paxray_quarter.json", "paxray_half.json", "paxray.json")
    )
    assert quarter <= half < full


def test_npy_targets_are_those_of_the_real_data(sample, tmp_path):
    generate_sample(tmp_path, cases=1, size=64, seed=3, format="npy", workers=1)
    stack = np.load(tmp_path / "labels" / "case0000frontal.npy")
    assert (stack.dtype, stack.shape) == (bool, (166, 64, 64))
    packed = PaxrayDataset(sample, split="train")
    names = [e.image for s in packed.datafile.splits.values() for e in s]
    assert "images/case0000frontal.png" in names
    first = (tmp_path / "images" / "case0000frontal.png").read_bytes()
    assert first == (sample / "images" / "case0000frontal.png").read_bytes()


def test_interrupted_sample_is_continued(sample, tmp_path):
    generate_sample(tmp_path, cases=4, size=64, seed=3, workers=1)
    kept, lost = (
        tmp_path / "images" / "case0001lateral.png",
        tmp_path / "labels" / "case0002frontal.pxm",
    )
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    (tmp_path / "paxray.json").unlink()
    assert generate_sample(tmp_path, cases=4, size=64, seed=3, workers=1).is_file()
    assert kept.stat().st_mtime_ns == stamp
    assert lost.read_bytes() == (sample / "labels" / lost.name).read_bytes()


def test_other_settings_and_foreign_folders_are_refused(sample, tmp_path):
    with pytest.raises(ValueError, match=r"'seed': 3.*'seed': 4"):
        generate_sample(sample, cases=4, size=64, seed=4)
    with pytest.raises(ValueError, match=r"'varied': False.*'varied': True"):
        generate_sample(sample, cases=4, size=64, seed=3, varied=True)
    (tmp_path / "paxray.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="not a sample"):
        generate_sample(tmp_path)


@pytest.mark.parametrize("change", [{"cases": 0}, {"size": 8}, {"seed": -1}, {"format": "zip"}])
def test_wrong_arguments(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        generate_sample(tmp_path, **change)


def test_splits():
    split = split_cases(40, 1)
    assert sorted(case for part in split.values() for case in part) == list(range(40))
    assert {name: len(part) for name, part in split.items()} == {"train": 28, "val": 4, "test": 8}


@pytest.mark.slow
def test_processes_change_nothing(sample, tmp_path):
    generate_sample(tmp_path, cases=4, size=64, seed=3, workers=2)
    for path in sorted(sample.glob("*/*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(sample)).read_bytes(), path.name


@pytest.mark.slow
def test_mean_mask_is_a_poor_guess():
    stack = np.stack([render(0, case, 64)["frontal"][1].unpack() for case in range(24)])
    mean, test = stack[:16].mean(0) > 0.5, stack[16:]
    present = test.any((2, 3))
    overlap = (test & mean).sum((2, 3)) / np.maximum((test | mean).sum((2, 3)), 1)
    assert overlap[present].mean() < 0.35
