"""Projection of one scan: exact symmetry, true proportions, the table; a real CT."""

import numpy as np
import pytest
from helpers.chestdata import ORDERS, SPACING, mirrored, write_case

from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import FORMATIONS, check_sides, project_scan
from paxray_lib.ct.scan import Scan, read_scan
from paxray_lib.ct.structures import CODES
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks

SIZE = 64


@pytest.fixture(scope="module")
def projected(chest):
    return project_scan(chest, SIZE)


def same(views, others):
    return all(
        np.array_equal(views[v][0], others[v][0]) and views[v][1] == others[v][1] for v in views
    )


@pytest.mark.parametrize("order", ORDERS)
def test_storage_order_does_not_matter(tmp_path, chest, projected, order):
    scan = read_scan(*write_case(tmp_path, chest, order=order))
    assert same(project_scan(scan, SIZE).views, projected.views)


@pytest.mark.parametrize("formation", FORMATIONS)
def test_mirrored_scan_gives_the_mirrored_projection_exactly(chest, formation):
    hu = chest.hu.copy()
    rng = np.random.default_rng(0)
    hu[:, 4:42, 6:74] += rng.integers(-60, 60, hu[:, 4:42, 6:74].shape).astype(np.int16)
    hu[:, :20, 40:] += 30  # left and right differ
    scan = Scan(hu, chest.structures, SPACING, {})
    straight, other = (project_scan(s, SIZE, formation).views for s in (scan, mirrored(scan)))
    assert np.array_equal(other["frontal"][0], straight["frontal"][0][:, ::-1])
    assert other["frontal"][1] == straight["frontal"][1].flip("frontal")
    assert np.array_equal(other["lateral"][0], straight["lateral"][0])
    assert other["lateral"][1] == straight["lateral"][1].flip("frontal").flip("lateral")


def test_orientation_and_proportions(projected):
    frontal, lateral = (projected.views[view][1] for view in ("frontal", "lateral"))

    def column(masks, name):
        return np.nonzero(masks.union(name))[1].mean()

    assert column(frontal, "lung_right") < SIZE / 2 < column(frontal, "lung_left")
    assert column(lateral, "spine") > column(lateral, "heart")
    rows, columns = np.nonzero(frontal.union("heart"))
    assert projected.pixel_mm == pytest.approx(250 / SIZE)
    assert (np.ptp(rows) + 1) * projected.pixel_mm == pytest.approx(60, abs=2 * projected.pixel_mm)
    assert (np.ptp(columns) + 1) * projected.pixel_mm == pytest.approx(
        42, abs=2 * projected.pixel_mm
    )


@pytest.mark.parametrize("formation", FORMATIONS)
def test_bone_is_light_lung_dark_air_black(chest, formation):
    image, masks = project_scan(chest, SIZE, formation).views["frontal"]
    assert image.dtype == np.uint8
    lung = masks.union("lung_*") & ~masks.union("ribs", "mediastinum", "vertebrae", "diaphragms")
    assert image[masks.union("spine") & masks.union("diaphragms")].mean() > 2 * image[lung].mean()
    assert not image[:, 0].any()


def test_table_is_not_in_the_image(chest):
    hu = chest.hu.copy()
    hu[:, 43:] = -1000
    without = project_scan(Scan(hu, chest.structures, SPACING, {}), SIZE)
    assert same(project_scan(chest, SIZE).views, without.views)


def test_wholes_of_which_parts_alone_are_known_are_absent(chest):
    codes = [code for name, code in CODES.items() if name.startswith("rib_")]
    scan = Scan(
        chest.hu,
        np.where(np.isin(chest.structures, codes), 0, chest.structures).astype(np.uint8),
        SPACING,
        {},
    )
    projected = project_scan(scan, SIZE)
    masks = projected.views["frontal"][1]
    assert "ribs not in the segmentation" in projected.absent["bones"]
    assert not masks.union("bones").any()
    assert masks.union("spine").any()


def test_exchanged_sides_are_refused():
    stack = np.zeros((len(LABELS), 8, 8), bool)
    stack[LABELS.index("rib_left_3")[0], 4, 1] = stack[LABELS.index("rib_right_3")[0], 4, 6] = True
    masks = PackedMasks.pack(stack, LABELS)
    with pytest.raises(ValueError, match="rib_left_3 lies to the right of rib_right_3"):
        check_sides(masks)
    check_sides(masks.flip("frontal").flip("lateral").flip("frontal").flip("frontal"))


def test_results_that_cannot_be_are_refused(chest):
    lungs = [code for name, code in CODES.items() if name.startswith("lung_")]
    airless = np.where(np.isin(chest.structures, lungs), 0, chest.structures).astype(np.uint8)
    thin = np.full_like(chest.hu, -1000)
    thin[:, 4:25, 6:30] = -150  # 13 mm of fat in all
    for scan, message in (
        (Scan(chest.hu, chest.structures, (1500.0, 4.0, 3.0), {}), "no lung"),
        (Scan(chest.hu, airless, SPACING, {}), "no lung"),
        (Scan(thin, chest.structures, (5.0, 0.6, 0.6), {}), "no body .values 0 to 0"),
    ):
        with pytest.raises(ValueError, match=message):
            project_scan(scan, SIZE)


@pytest.fixture(scope="module")
def real(real_data):
    """The real CT and its projections."""
    folder = real_data / "ct"
    if not folder.is_dir():
        pytest.skip(f"no CT in {folder}")
    (case,), unmatched = find_cases(folder, folder)
    assert not unmatched
    scan = read_scan(case.ct, case.segmentation)
    return scan, project_scan(scan)


@pytest.mark.slow
class TestRealCT:
    def test_labels(self, real):
        _, projected = real
        outside = {"c1", "c2", "c3", "c4", "l4", "l5", "sacrum", "cocygis"}
        floating = {f"rib_{side}anterior_{n}" for side in ("", "left_", "right_") for n in (11, 12)}
        assert set(projected.absent) == outside | floating | {"l6", "t13"}
        for _, masks in projected.views.values():
            assert (masks.counts() > 0).sum() == 150

    def test_parts_lie_in_wholes_and_sizes_are_human(self, real):
        _, projected = real
        for _, masks in projected.views.values():
            stack = masks.unpack()
            for child, parents in enumerate(LABELS.parents):
                for parent in parents:
                    assert not (stack[child] & ~stack[parent]).any()
        frontal = projected.views["frontal"][1]
        columns = {
            name: np.ptp(np.nonzero(frontal.union(name))[1]) + 1
            for name in ("heart", "lung_overall")
        }
        assert 0.35 < columns["heart"] / columns["lung_overall"] < 0.6  # the cardiothoracic ratio
        assert 0.3 < projected.pixel_mm < 1

    def test_no_table_behind_the_patient(self, real):
        scan, projected = real
        lateral = projected.views["lateral"][0] > 0
        spine = np.nonzero(projected.views["lateral"][1].union("spine"))[1].max()
        assert (
            np.flatnonzero(lateral.any(axis=0)).max() * projected.pixel_mm
            < spine * projected.pixel_mm + 80
        )
        assert scan.spacing == pytest.approx((2.5, 0.703125, 0.703125))

    @pytest.mark.slow
    def test_mirror_is_exact(self, real):
        scan, _ = real
        other = mirrored(scan)
        middle = other.structures == 13  # the right middle lobe has no counterpart
        lobe = np.where(middle, 10, other.structures).astype(np.uint8)
        straight = np.where(scan.structures == 13, 12, scan.structures).astype(np.uint8)
        first, second = (
            project_scan(Scan(s.hu, structures, s.spacing, {}), 256).views
            for s, structures in ((scan, straight), (other, lobe))
        )
        assert np.array_equal(second["frontal"][0], first["frontal"][0][:, ::-1])
        assert second["frontal"][1] == first["frontal"][1].flip("frontal")
        assert np.array_equal(second["lateral"][0], first["lateral"][0])
