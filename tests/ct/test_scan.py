"""Reading CTs: every storage order gives the same scan, and what is wrong is refused with file,
value and remedy.
"""

import gzip
import json
import struct

import nibabel
import numpy as np
import pytest
from helpers.chestdata import SHAPE, SPACING, all_orders, make_chest, stored, values_of, write_case

from paxray_lib.ct.scan import Scan, read_scan
from paxray_lib.ct.segmentation import read_names
from paxray_lib.ct.structures import BUILT_IN, CODES, STRUCTURES


@pytest.mark.parametrize("order", all_orders())
def test_every_storage_order_gives_the_same_scan(tmp_path, chest, order):
    scan = read_scan(*write_case(tmp_path, chest, order=order))
    assert np.array_equal(scan.hu, chest.hu)
    assert np.array_equal(scan.structures, chest.structures)
    assert scan.spacing == pytest.approx(SPACING)
    assert scan.facts["axes"] == order
    assert sorted(scan.facts["shape"]) == sorted(SHAPE)


@pytest.mark.parametrize("order", ["LPS", "SLP"])
def test_ct_and_segmentation_may_differ_in_storage_order(tmp_path, chest, order):
    ct, _ = write_case(tmp_path / "a", chest, order="RAS")
    _, segmentation = write_case(tmp_path / "b", chest, order=order)
    assert np.array_equal(read_scan(ct, segmentation).structures, chest.structures)


def test_segmentation_of_another_place_is_refused(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    image = nibabel.load(segmentation)
    image.affine[0, 3] += 5
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine), segmentation)
    with pytest.raises(ValueError, match=r"p1_seg.nii.gz: its affine puts voxels up to 5.0 mm"):
        read_scan(ct, segmentation)


def test_segmentation_without_an_affine_has_that_of_the_ct(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(segmentation).dataobj), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, segmentation)
    assert np.array_equal(read_scan(ct, segmentation).structures, chest.structures)


def test_first_row_of_the_table_counts_where_masks_overlap(tmp_path, chest):
    ct, _ = write_case(tmp_path, chest)
    folder = tmp_path / "segmentations"
    folder.mkdir()
    for name in ("lung_upper_lobe_right", "lung_lower_lobe_right", "rib_right_3"):
        mask = (chest.structures == CODES[name]).astype(np.uint8)
        nibabel.save(stored(mask, SPACING, "RAS"), folder / f"{name}.nii.gz")
    bronchi = np.zeros(SHAPE, np.uint8)
    bronchi[10:30, 20:22, 20:39] = 1  # through both lobes, and out of them
    nibabel.save(stored(bronchi, SPACING, "RAS"), folder / "lung_trachea_bronchia.nii.gz")
    structures = read_scan(ct, folder).structures
    lobes = np.isin(
        chest.structures, [CODES["lung_upper_lobe_right"], CODES["lung_lower_lobe_right"]]
    )
    assert np.array_equal(structures == CODES["lung_trachea_bronchia"], (bronchi == 1) & ~lobes)
    assert np.array_equal(structures[lobes], chest.structures[lobes])


def test_folder_of_one_file_for_each_structure(tmp_path, chest):
    ct, _ = write_case(tmp_path, chest)
    folder = tmp_path / "segmentations"
    folder.mkdir()
    for structure in STRUCTURES:
        mask = (chest.structures == structure.code).astype(np.uint8)
        if mask.any() or structure.name == "spleen":
            nibabel.save(stored(mask, SPACING, "RAS"), folder / f"{structure.name}.nii.gz")
    nibabel.save(stored(mask, SPACING, "RAS"), folder / "something_else.nii.gz")
    scan = read_scan(ct, folder)
    assert np.array_equal(scan.structures, chest.structures)
    assert scan.facts["names_not_used"] == ["something_else"]


def test_scaled_and_float_files(tmp_path, chest, monkeypatch):
    ct, segmentation = write_case(tmp_path, chest)
    image = stored(chest.hu.astype(np.float32) + 0.25, SPACING, "RAS")
    nibabel.save(image, ct)
    assert np.array_equal(read_scan(ct, segmentation).hu, chest.hu)
    image.header.set_data_dtype(np.int16)  # nibabel finds a slope that uses the whole range
    nibabel.save(image, ct)
    assert nibabel.load(ct).dataobj.slope != 1
    types = []
    read = nibabel.Nifti1Image.get_fdata
    monkeypatch.setattr(
        nibabel.Nifti1Image,
        "get_fdata",
        lambda *a, dtype, **k: types.append(dtype) or read(*a, dtype=dtype, **k),
    )
    assert np.abs(read_scan(ct, segmentation).hu - chest.hu).max() <= 1
    assert types == [np.float32]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.float64])
def test_segmentations_of_any_type(tmp_path, chest, dtype):
    ct, segmentation = write_case(tmp_path, chest)
    image = stored(values_of(chest.structures), SPACING, "RAS")
    values = np.asarray(image.dataobj).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(values, image.affine, dtype=dtype), segmentation)
    assert np.array_equal(read_scan(ct, segmentation).structures, chest.structures)


def test_labels_that_are_stored_as_scaled_integers(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    image = stored(values_of(chest.structures).astype(np.float64), SPACING, "RAS")
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, segmentation)
    stored_values = nibabel.load(segmentation).get_fdata()
    assert (stored_values != stored_values.round()).any()
    assert np.array_equal(read_scan(ct, segmentation).structures, chest.structures)


def test_values_of_version_1_are_refused_with_the_remedy(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    values, lobes = values_of(chest.structures), {10: 13, 11: 14, 12: 15, 13: 16, 14: 17}
    table = np.arange(256, dtype=np.uint8)
    table[[*lobes, 15, 16, 17]] = [*lobes.values(), 42, 43, 0]
    nibabel.save(stored(table[values], SPACING, "RAS"), segmentation)
    with pytest.raises(ValueError, match=r"p1_seg.nii.gz: .* TotalSegmentator v1, .* --names"):
        read_scan(ct, segmentation)


def test_padding_below_air_is_air(tmp_path, chest):
    hu = chest.hu.copy()
    hu[:, 0] = -3024
    scan = read_scan(*write_case(tmp_path, Scan(hu, chest.structures, SPACING, {})))
    assert scan.hu.min() == -1024


class TestNames:
    def test_built_in_table_is_that_of_totalsegmentator(self):
        assert len(BUILT_IN) == 117
        known = {
            1: "spleen",
            51: "heart",
            52: "aorta",
            92: "rib_left_1",
            104: "rib_right_1",
            117: "costal_cartilages",
        }
        assert known.items() <= BUILT_IN.items()

    def test_every_label_of_the_table_exists(self):
        from paxray_lib.labels.table import LABELS

        assert {s.label for s in STRUCTURES if s.label} <= set(LABELS.names)
        assert len(CODES) == len(STRUCTURES) < 160

    def _renumbered(self, tmp_path, chest):
        ct, segmentation = write_case(tmp_path, chest)
        values = np.where(chest.structures > 0, chest.structures.astype(np.uint16) + 500, 0).astype(
            np.uint16
        )
        nibabel.save(stored(values, SPACING, "RAS"), segmentation)
        return ct, segmentation, {code + 500: name for name, code in CODES.items()}

    def test_unknown_values_are_refused_with_the_remedy(self, tmp_path, chest):
        ct, segmentation, _ = self._renumbered(tmp_path, chest)
        with pytest.raises(ValueError, match="--names"):
            read_scan(ct, segmentation)

    @pytest.mark.parametrize("kind", ["tsv", "csv", "json", "beside", "header"])
    def test_names_from(self, tmp_path, chest, kind):
        ct, segmentation, names = self._renumbered(tmp_path, chest)
        table = tmp_path / f"names.{kind}"
        if kind == "beside":
            table = tmp_path / "p1_seg_labels.tsv"
        if kind == "json":
            table.write_text(
                json.dumps({"labels": {"background": 0, **{n: v for v, n in names.items()}}})
            )
        elif kind == "header":
            image = nibabel.load(segmentation)
            image = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
            xml = "".join(
                f'<Label Key="{v}" Red="1"><![CDATA[{n}]]></Label>' for v, n in names.items()
            )
            image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, xml.encode()))
            nibabel.save(image, segmentation)
        else:
            mark = "," if kind == "csv" else "\t"
            table.write_text("\n".join(f"{value}{mark}{name}" for value, name in names.items()))
        scan = read_scan(ct, segmentation, table if kind in ("tsv", "csv", "json") else None)
        assert np.array_equal(scan.structures, chest.structures)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "empty"),
            ("heart", "value and name"),
            ("1\thart", "did you mean 'heart'"),
            ("x\ty\nz\tw", "value and name"),
        ],
    )
    def test_bad_tables(self, tmp_path, text, message):
        path = tmp_path / "names.tsv"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_names(path)
        with pytest.raises(FileNotFoundError, match=r"none.tsv"):
            read_names(tmp_path / "none.tsv")


def broken(change):
    """Return (hu, structures' values) of the chest, changed."""
    scan = make_chest()
    hu, values = scan.hu.copy(), values_of(scan.structures)
    return change(hu, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu, seg: (hu + 1024, seg), r"p1_ct.nii.gz: values from 24 to .* subtract 1024"),
        (lambda hu, seg: ((hu // 16 + 64).astype(np.uint8), seg), "not Hounsfield units"),
        (lambda hu, seg: (np.where(hu > 0, np.nan, hu).astype(np.float32), seg), "NaN"),
        (lambda hu, seg: (hu, seg * 0), "p1_seg.nii.gz: the segmentation is empty"),
        (lambda hu, seg: (hu, seg[:-1]), r"p1_seg.nii.gz: shape .* but p1_ct.nii.gz has"),
        (
            lambda hu, seg: (hu, np.where((seg >= 10) & (seg <= 14), 0, seg)),
            "no lung .* not a CT of the chest",
        ),
        (
            lambda hu, seg: (hu, np.where(((seg > 31) & (seg < 44)) | (seg > 91), 0, seg)),
            "no rib or thoracic vertebra",
        ),
        (lambda hu, seg: (hu, seg / 2 + 0.25), "fractions"),
        (lambda hu, seg: (hu, -seg.astype(np.int16)), "a label volume holds 0 to 65535"),
        (lambda hu, seg: (np.where(hu < -800, 0, hu), seg), "not Hounsfield units"),
        (
            lambda hu, seg: (np.where((seg >= 10) & (seg <= 14), 20, hu).astype(np.int16), seg),
            "where it says lung",
        ),
        (lambda hu, seg: (hu[:, :, ::-1], seg[:, :, ::-1]), "segmented as right lies to the left"),
        (lambda hu, seg: (hu[::-1], seg[::-1]), "segmented as head lies to the feet"),
        (lambda hu, seg: (hu[:, ::-1], seg[:, ::-1]), "segmented as front lies to the back"),
        (lambda hu, seg: (np.stack([hu, hu], -1), seg), "three dimensions"),
        (
            lambda hu, seg: (hu[30:], seg[30:]),
            "p1_ct.nii.gz: holds only 20 mm of the lungs' height",
        ),
        (lambda hu, seg: (hu[:20], seg[:20]), "holds only 60 mm of the lungs' height"),
        (lambda hu, seg: (np.abs(hu), seg), "an MR cannot be projected"),
        (lambda hu, seg: (hu.astype(np.complex64), seg), "p1_ct.nii.gz: complex64 voxels"),
    ],
)
def test_what_is_no_chest_ct_is_refused(tmp_path, change, message):
    hu, values = broken(change)
    paths = write_case(tmp_path)
    for path, volume in zip(paths, (hu, values), strict=True):
        image = stored(volume[..., 0] if volume.ndim == 4 else volume, SPACING, "RAS")
        if volume.ndim == 4:
            image = nibabel.Nifti1Image(np.stack([np.asarray(image.dataobj)] * 2, -1), image.affine)
        nibabel.save(image, path)
    with pytest.raises(ValueError, match=message):
        read_scan(*paths)


def test_no_affine_in_the_header(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    image = nibabel.Nifti1Image(np.asarray(nibabel.load(ct).dataobj), None)
    image.header.set_sform(None, 0)
    image.header.set_qform(None, 0)
    nibabel.save(image, ct)
    with pytest.raises(ValueError, match=r"no affine .* left and right are unknown"):
        read_scan(ct, segmentation)


@pytest.mark.parametrize(("degrees", "fine"), [(5, True), (11, True), (20, False)])
def test_oblique_volumes(tmp_path, chest, degrees, fine):
    paths = write_case(tmp_path, chest)
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for path in paths:
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine), path)
    if fine:
        assert read_scan(*paths).facts["oblique_degrees"] == pytest.approx(degrees, abs=0.01)
    else:
        with pytest.raises(ValueError, match="20 degrees oblique"):
            read_scan(*paths)


def test_unreadable_files(tmp_path, chest):
    ct, segmentation = write_case(tmp_path, chest)
    with pytest.raises(FileNotFoundError, match=r"none.nii"):
        read_scan(tmp_path / "none.nii", segmentation)
    other = tmp_path / "ct.dcm"
    other.write_bytes(b"DICM")
    with pytest.raises(ValueError, match="dcm2niix"):
        read_scan(other, segmentation)
    content = ct.read_bytes()
    ct.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"p1_ct.nii.gz"):
        read_scan(ct, segmentation)
    ct.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"p1_ct.nii.gz"):
        read_scan(ct, segmentation)


@pytest.mark.parametrize(
    "change", [(70, 3313), (42, -5), None]
)  # the code of the voxels' type, a length, the end
def test_damaged_headers_are_refused_in_one_line(tmp_path, chest, change):
    ct, segmentation = write_case(tmp_path, chest)
    content = bytearray(gzip.decompress(ct.read_bytes()))
    if change:
        struct.pack_into("<h", content, *change)
    damaged = tmp_path / "damaged.nii"
    damaged.write_bytes(content if change else content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"damaged.nii: ") as found:
        read_scan(damaged, segmentation)
    assert "\n" not in str(found.value)


def test_bad_folders(tmp_path, chest):
    ct, _ = write_case(tmp_path, chest)
    folder = tmp_path / "masks"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"no .nii.gz file"):
        read_scan(ct, folder)
    nibabel.save(stored(np.full(SHAPE, 7, np.uint8), SPACING, "RAS"), folder / "heart.nii.gz")
    with pytest.raises(ValueError, match="mask of 0 and 1"):
        read_scan(ct, folder)
    nibabel.save(stored(np.zeros(SHAPE, np.uint8), SPACING, "RAS"), folder / "heart.nii.gz")
    with pytest.raises(ValueError, match="empty"):
        read_scan(ct, folder)
