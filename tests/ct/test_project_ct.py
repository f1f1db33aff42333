"""`paxray project`: exact symmetry, the data set on disk, resuming, and cases that fail."""

import gzip
import json

import numpy as np
import pytest
from helpers.chestdata import ORDERS, SPACING, make_chest, mirrored, write_case
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.ct.dataset import project_cases
from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import FORMATIONS, check_sides, project_scan
from paxray_lib.ct.scan import Scan, read_scan
from paxray_lib.ct.structures import BUILT_IN, CODES
from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.phantoms.sample_dataset import generate_sample
from paxray_lib.quality.check import check_dataset
from paxray_lib.utils.locks import lock

SIZE = 64


@pytest.fixture(scope="module")
def chest():
    return make_chest()


@pytest.fixture(scope="module")
def projected(chest):
    return project_scan(chest, SIZE)


def run(*arguments):
    result = CliRunner().invoke(app, ["project", "--size", str(SIZE), *map(str, arguments)])
    return result.exit_code, result.output


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


def test_case_on_disk(tmp_path, chest, projected):
    ct, segmentation = write_case(tmp_path / "in", chest)
    out = tmp_path / "out"
    code, text = run("--ct", ct, "--segmentation", segmentation, "--out", out)
    assert code == 0, text
    assert "1 projected" in text
    dataset = PaxrayDataset(out, split="test")
    assert [(e.case, e.view) for e in dataset.entries] == [("p1", "frontal"), ("p1", "lateral")]
    for sample in dataset:
        assert np.array_equal((sample.image * 255).round(), projected.views[sample.view][0])
        assert sample.masks == projected.views[sample.view][1]
        assert sample.spacing_mm == pytest.approx(
            (projected.pixel_mm, projected.pixel_mm), abs=1e-6
        )
    assert not [finding for finding in check_dataset(out) if finding.severity == "error"]
    record = json.loads((out / "provenance" / "p1.json").read_text())
    assert record["inputs"]["ct"]["name"] == "p1_ct.nii.gz"
    assert len(record["inputs"]["segmentation"]["sha256"]) == 64
    assert record["labels_absent"] == projected.absent
    assert record["labels_present"] + len(record["labels_absent"]) == len(LABELS)
    assert record["scan"]["axes"] == "RAS"
    assert record["pixel_mm"] == projected.pixel_mm
    assert "aorta" not in record["cut_by_the_scan"]
    assert "program" in record


def test_second_call_skips_what_is_done_and_redoes_what_changed(tmp_path, chest):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_case(folder, chest, "a")
    write_case(folder, chest, "b")
    assert (
        "2 projected, 0 skipped" in run("--ct", folder, "--segmentation", folder, "--out", out)[1]
    )
    before = (out / "paxray.json").read_bytes()
    image = out / "images" / "afrontal.png"
    first = image.stat().st_mtime_ns
    assert (
        "0 projected, 2 skipped" in run("--ct", folder, "--segmentation", folder, "--out", out)[1]
    )
    assert image.stat().st_mtime_ns == first
    assert (out / "paxray.json").read_bytes() == before
    (out / "labels" / "blateral.pxm").unlink()
    assert (
        "1 projected, 1 skipped" in run("--ct", folder, "--segmentation", folder, "--out", out)[1]
    )
    fewer = np.where(chest.structures == CODES["sternum"], 0, chest.structures).astype(np.uint8)
    write_case(folder, Scan(chest.hu, fewer, SPACING, {}), "a")
    assert (
        "1 projected, 1 skipped" in run("--ct", folder, "--segmentation", folder, "--out", out)[1]
    )
    options = ("--formation", "published", "--split", "train")
    assert "2 projected" in run("--ct", folder, "--segmentation", folder, "--out", out, *options)[1]
    data = read_datafile(out)
    assert [entry.case for entry in data.split("train")] == ["a", "a", "b", "b"]
    assert not data.split("test")


def test_another_ct_of_the_same_name_is_refused(tmp_path, chest):
    out = tmp_path / "out"
    other = Scan(chest.hu + np.int16(5), chest.structures, SPACING, {})
    for folder, scan in ((tmp_path / "a", chest), (tmp_path / "b", other)):
        ct, segmentation = write_case(folder, scan)
        code, text = run("--ct", ct, "--segmentation", segmentation, "--out", out)
    before = (out / "images" / "p1frontal.png").read_bytes()
    assert code == 1
    assert (
        "failed: p1: p1_ct.nii.gz: the case 'p1' of this data set was made from another CT" in text
    )
    assert "rename the CT" in text
    assert (out / "images" / "p1frontal.png").read_bytes() == before
    assert check_dataset(out) == [f for f in check_dataset(out) if f.severity != "error"]


def test_case_stays_in_its_split(tmp_path, chest):
    paths = write_case(tmp_path / "in", chest)
    base = ("--ct", paths[0], "--segmentation", paths[1], "--out", tmp_path / "out")
    text = run(*base, "--split", "train")[1]
    assert "moved" not in text
    assert "moved" not in run(*base)[1]
    assert {
        name for name, entries in read_datafile(tmp_path / "out").splits.items() if entries
    } == {"train"}
    assert "moved: p1 from train to val" in run(*base, "--split", "val")[1]
    assert "moved" not in run(*base, "--split", "val")[1]
    assert {
        name for name, entries in read_datafile(tmp_path / "out").splits.items() if entries
    } == {"val"}


def test_names_that_are_not_used_are_said_once(tmp_path, chest):
    for name in ("a", "b"):
        write_case(tmp_path / "in", chest, name)
    table = tmp_path / "names.tsv"
    lines = [f"{value}\t{name}\n" for value, name in BUILT_IN.items()]
    table.write_text(
        "".join(lines).replace("vertebrae_T4", "vertebra_T4").replace("urinary_bladder", "bladder")
    )
    base = ("--ct", tmp_path / "in", "--segmentation", tmp_path / "in", "--out", tmp_path / "out")
    text = run(*base, "--names", table)[1]
    assert text.count("vertebra_T4") == 1
    assert "not used, an unknown name: 'vertebra_T4'; did you mean 'vertebrae_T4'" in text
    assert "'bladder'" not in text  # not in these volumes


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


def test_scan_that_reaches_far_beyond_the_lungs_is_cropped(tmp_path, chest):
    above, below = 20, 40  # slices of 5 mm
    hu = np.pad(chest.hu, ((above, below), (0, 0), (0, 0)), mode="edge")
    structures = np.pad(chest.structures, ((above, below), (0, 0), (0, 0)))
    projected = project_scan(Scan(hu, structures, SPACING, {}), SIZE)
    assert projected.cropped_mm == (5 * (above + 8 - 12), 5 * (below - 8))
    assert projected.pixel_mm == pytest.approx(5 * (12 + 26 + 24) / SIZE)
    assert project_scan(chest, SIZE).cropped_mm == (0, 0)
    ct, segmentation = write_case(tmp_path / "in", Scan(hu, structures, SPACING, {}))
    run("--ct", ct, "--segmentation", segmentation, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out/provenance/p1.json").read_text())["cropped_mm"] == list(
        projected.cropped_mm
    )


def test_a_call_that_was_stopped_goes_on(tmp_path, chest, monkeypatch):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_case(folder, chest, "a")
    write_case(folder, chest, "b")
    cases, _ = find_cases(folder, folder)
    write = PackedMasks.write

    def stop(masks, path):
        if "blateral" in path.name:
            raise KeyboardInterrupt
        write(masks, path)

    monkeypatch.setattr(PackedMasks, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        project_cases(cases, out, size=SIZE)
    assert {entry.case for entry in read_datafile(out).split("test")} == {"a"}
    monkeypatch.undo()
    assert [outcome.status for outcome in project_cases(cases, out, size=SIZE)] == ["skipped", "ok"]
    assert len(read_datafile(out).split("test")) == 4


def claim_shape(path, size):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = np.array([size] * 3, "<i2").tobytes()  # dim[1] to dim[3] of NIfTI-1
    path.write_bytes(gzip.compress(content))


def test_bad_cases_are_listed_and_the_others_done(tmp_path, chest):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_case(folder, chest, "good")
    ct, _ = write_case(folder, chest, "bad")
    ct.write_bytes(b"nothing")
    huge, _ = write_case(folder, chest, "huge")
    claim_shape(huge, 32000)
    (folder / "lonely_seg.nii.gz").touch()
    code, text = run("--ct", folder, "--segmentation", folder, "--out", out)
    assert code == 1
    assert "failed: bad: " in text
    assert "no CT named lonely" in text
    assert "the header claims (32000, 32000, 32000) voxels" in text
    assert "1 projected, 0 skipped, 2 failed, 1 without counterpart" in text
    assert {entry.case for entry in read_datafile(out).split("test")} == {"good"}


def test_appends_to_a_data_set_and_leaves_the_rest(tmp_path, chest):
    out = tmp_path / "sample"
    generate_sample(out, cases=2, size=32, workers=1)
    before = read_datafile(out)
    run(
        "--ct",
        *write_case(tmp_path / "in", chest)[:1],
        "--segmentation",
        tmp_path / "in/p1_seg.nii.gz",
        "--out",
        out,
    )
    after = read_datafile(out)
    assert after.extra == before.extra
    assert after.split("train") == before.split("train")
    assert after.split("test")[:2] == before.split("test")
    assert len(after.split("test")) == len(before.split("test")) + 2
    write_case(tmp_path / "in", chest, "case0000")
    ct, segmentation = (tmp_path / "in" / f"case0000_{kind}.nii.gz" for kind in ("ct", "seg"))
    code, text = run("--ct", ct, "--segmentation", segmentation, "--out", out)
    assert code == 1
    assert "belongs to another case" in text
    assert read_image(out / "images" / "case0000frontal.png").pixels.shape == (32, 32)


def test_settings_that_cannot_be_used(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    base = ("--ct", ct, "--segmentation", segmentation, "--out", tmp_path / "out")
    for option, value, message in (
        ("--formation", "film", "film"),
        ("--split", "tset", "did you mean 'test'"),
        ("--size", "8", "size must be 32 to"),
        ("--ct", tmp_path / "none.nii", "no such file"),
        ("--names", tmp_path / "none.csv", "no such table of names"),
    ):
        code, text = run(*base, option, value)
        assert code == 2, text
        assert message in text
    other = tmp_path / "other"
    other.mkdir()
    (other / "paxray.json").write_text('{"label_dict": {"0": "heart"}, "test": []}')
    code, text = run(*base[:4], "--out", other)
    assert code == 2
    assert "other labels" in text


def test_folder_in_use_is_refused(tmp_path, chest):
    write_case(tmp_path / "in", chest)
    cases, _ = find_cases(tmp_path / "in", tmp_path / "in")
    with lock(tmp_path / "out"), pytest.raises(ValueError, match="working in this folder"):
        project_cases(cases, tmp_path / "out", size=SIZE)


def test_damaged_record_is_made_again(tmp_path, chest):
    write_case(tmp_path / "in", chest)
    cases, _ = find_cases(tmp_path / "in", tmp_path / "in")
    project_cases(cases, tmp_path / "out", size=SIZE)
    for damaged in ('{"case"', "[]", "{}"):
        (tmp_path / "out/provenance/p1.json").write_text(damaged)
        assert [
            outcome.status for outcome in project_cases(cases, tmp_path / "out", size=SIZE)
        ] == ["ok"]
    assert [outcome.status for outcome in project_cases(cases, tmp_path / "out", size=SIZE)] == [
        "skipped"
    ]


def test_exchanged_sides_are_refused():
    stack = np.zeros((len(LABELS), 8, 8), bool)
    stack[LABELS.index("rib_left_3")[0], 4, 1] = stack[LABELS.index("rib_right_3")[0], 4, 6] = True
    masks = PackedMasks.pack(stack, LABELS)
    with pytest.raises(ValueError, match="rib_left_3 lies to the right of rib_right_3"):
        check_sides(masks)
    check_sides(masks.flip("frontal").flip("lateral").flip("frontal").flip("frontal"))


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
