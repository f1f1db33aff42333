"""`paxray project`: the data set on disk, resuming, and cases that fail."""

import gzip
import json

import numpy as np
import pytest
from helpers.chestdata import SPACING, write_case
from typer.testing import CliRunner

from paxray_lib.cli import app
from paxray_lib.ct.dataset import project_cases
from paxray_lib.ct.pairing import find_cases
from paxray_lib.ct.project import project_scan
from paxray_lib.ct.scan import Scan
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
def projected(chest):
    return project_scan(chest, SIZE)


def run(*arguments):
    result = CliRunner().invoke(app, ["project", "--size", str(SIZE), *map(str, arguments)])
    return result.exit_code, result.output


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
    for entry in dataset.entries:
        known = dict(zip(LABELS, dataset.datafile.known(entry), strict=True))
        assert {name for name in LABELS if not known[name]} == set(projected.absent)
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
