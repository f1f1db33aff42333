"""Masks at the size of their image: DICOM Segmentations and their codes."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from helpers.xrays import read_seg, write_xray
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from pydicom.sr.codedict import codes

import paxray_lib
from paxray_lib.images.read import read_image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.dicom_seg import code_of, write_dicom_seg
from paxray_lib.masks.packed import PackedMasks

FEW = LabelSet(["heart", "lung_left", "rib_right_posterior_12", "lung_left_vessel", "tumour é"])


def random_masks(shape=(20, 24), labels=FEW, seed=0):
    rng = np.random.default_rng(seed)
    return PackedMasks.pack(rng.random((len(labels), *shape)) < 0.4, labels)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 150), st.integers(1, 40)),
    st.sampled_from([".pxm", ".npy", ".json"]),
)
def test_written_at_a_size_is_written_resized(tmp_path_factory, shape, size, suffix):
    folder, masks = tmp_path_factory.mktemp("masks"), random_masks(shape)
    masks.write(folder / f"a{suffix}", size)
    assert PackedMasks.read(folder / f"a{suffix}", FEW) == masks.resize(*size)
    masks.resize(*size).write(folder / f"b{suffix}")
    assert (folder / f"a{suffix}").read_bytes() == (folder / f"b{suffix}").read_bytes()


def test_npy_is_what_numpy_writes(tmp_path):
    masks = random_masks((30, 50), LABELS)
    masks.write(tmp_path / "ours.npy", (77, 41))
    np.save(tmp_path / "numpys.npy", masks.resize(77, 41).unpack())
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


@pytest.mark.parametrize("size", [(20, 24), (67, 45), (9, 7), (5, 100)])
def test_dicom_seg_reads_back_bit_identical(tmp_path, size):
    source, masks = write_xray(tmp_path / "x.dcm", size), random_masks()
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, size, source, "unet-resnet18")
    np.testing.assert_array_equal(read_seg(tmp_path / "x.seg.dcm"), masks.resize(*size).unpack())
    seg, image = pydicom.dcmread(tmp_path / "x.seg.dcm"), pydicom.dcmread(source)
    np.testing.assert_array_equal(seg.pixel_array.astype(bool), masks.resize(*size).unpack())
    for labels in (FEW, None):
        assert PackedMasks.read(tmp_path / "x.seg.dcm", labels) == masks.resize(*size)
    assert (seg.Modality, seg.SegmentationType, seg.SegmentsOverlap) == ("SEG", "BINARY", "YES")
    assert seg.StudyInstanceUID == image.StudyInstanceUID
    assert seg.PatientName == image.PatientName
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == list(FEW.names)
    assert {segment.SegmentAlgorithmName for segment in seg.SegmentSequence} == {"unet-resnet18"}


def test_dicom_seg_leaves_out_empty_frames(tmp_path):
    stack = np.zeros((3, 10, 10), bool)
    stack[1, 2:5, 3:9] = True
    masks = PackedMasks.pack(stack, LabelSet(["heart", "aorta", "spine"]))
    source = write_xray(tmp_path / "x.dcm", (33, 31))
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, (33, 31), source, "m")
    assert pydicom.dcmread(tmp_path / "x.seg.dcm").NumberOfFrames == 1
    assert PackedMasks.read(tmp_path / "x.seg.dcm") == masks.resize(33, 31)
    np.testing.assert_array_equal(read_seg(tmp_path / "x.seg.dcm"), masks.resize(33, 31).unpack())


@pytest.mark.parametrize("value", [0, 1])
def test_dicom_seg_of_a_single_label(tmp_path, value):
    source = write_xray(tmp_path / "x.dcm", (9, 7))
    masks = PackedMasks.pack(np.full((1, 4, 4), value), LabelSet(["heart"]))
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, (9, 7), source, "m")
    np.testing.assert_array_equal(read_seg(tmp_path / "x.seg.dcm"), np.full((1, 9, 7), value))
    assert PackedMasks.read(tmp_path / "x.seg.dcm") == masks.resize(9, 7)


def test_dicom_seg_of_long_names_and_other_labels(tmp_path):
    long = LabelSet(["heart", "x" * 70, "x" * 80])
    source, masks = write_xray(tmp_path / "x.dcm", (20, 24)), random_masks(labels=long)
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, (20, 24), source, "m")
    assert PackedMasks.read(tmp_path / "x.seg.dcm", long) == masks
    for other in (FEW, LabelSet(["heart", "y", "z"])):
        with pytest.raises(ValueError, match=r"x\.seg\.dcm: not a DICOM seg.*other labels"):
            PackedMasks.read(tmp_path / "x.seg.dcm", other)


def test_dicom_files_that_are_no_segmentation_of_ours_are_refused(tmp_path):
    source, target = write_xray(tmp_path / "x.dcm", (20, 24)), tmp_path / "x.seg.dcm"
    with pytest.raises(ValueError, match=r"x\.dcm: not a DICOM segmentation .*BINARY"):
        PackedMasks.read(source, FEW)
    write_dicom_seg(target, random_masks(), (20, 24), source, "m")
    for name, value in {
        "SegmentationType": "FRACTIONAL",
        "Rows": 60_000,
        "NumberOfFrames": 10**9,
        "PixelData": b"\0\0",
        "PerFrameFunctionalGroupsSequence": [],
        "SegmentSequence": [],
    }.items():
        damaged = pydicom.dcmread(target)
        setattr(damaged, name, value)
        damaged.save_as(tmp_path / "d.seg.dcm")
        with pytest.raises(ValueError, match=r"d\.seg\.dcm: not a DICOM segmentation"):
            PackedMasks.read(tmp_path / "d.seg.dcm", FEW)
    content = target.read_bytes()
    for length in (0, 100, 200, len(content) // 2, len(content) - 60):
        target.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"x\.seg\.dcm: "):
            PackedMasks.read(target, FEW)


@pytest.mark.parametrize("name", ["_", "$x$", "</script>", "left", "n" * 256, "\u5fc3" * 99])
def test_any_name_is_kept_in_a_dicom_seg(tmp_path, name):
    source = write_xray(tmp_path / "x.dcm", (8, 8))
    write_dicom_seg(
        tmp_path / "x.seg.dcm", random_masks(labels=LabelSet([name])), (8, 8), source, "m"
    )
    (segment,) = pydicom.dcmread(tmp_path / "x.seg.dcm").SegmentSequence
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    assert segment.SegmentLabel == name[:64]
    assert (code.get("CodeValue") or code.LongCodeValue, bool(code.CodeMeaning)) == (name, True)


def test_a_name_that_dicom_cannot_hold_is_refused(tmp_path):
    source = write_xray(tmp_path / "x.dcm", (8, 8))
    masks = random_masks(labels=LabelSet([r"a\b"]))
    with pytest.raises(ValueError, match=r"x\.dcm: no DICOM segmentation .*backslash.*use format"):
        write_dicom_seg(tmp_path / "x.seg.dcm", masks, (8, 8), source, "m")


def test_dicom_seg_without_a_single_pixel(tmp_path):
    source = write_xray(tmp_path / "x.dcm", (8, 8))
    masks = PackedMasks.pack(np.zeros((2, 4, 4), bool), LabelSet(["heart", "aorta"]))
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, (8, 8), source, "m")
    assert not read_seg(tmp_path / "x.seg.dcm").any()


def test_dicom_seg_of_a_real_compressed_image(real_data, tmp_path):
    source = next((real_data / "cxr").glob("*.dcm"))
    size = read_image(source).pixels.shape
    masks = random_masks((64, 64), LabelSet(LABELS.names[:10]))  # highdicom takes minutes for 166
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, size, source, "m")
    np.testing.assert_array_equal(read_seg(tmp_path / "x.seg.dcm"), masks.resize(*size).unpack())


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientBirthDate": None, "AccessionNumber": None, "StudyTime": None, "Modality": None},
        {"FrameOfReferenceUID": "1.2.3", "PixelSpacing": [0.1, 0.1]},
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"},
    ],
)
def test_dicom_seg_of_incomplete_and_odd_headers(tmp_path, tags):
    source, masks = write_xray(tmp_path / "x.dcm", (20, 24), **tags), random_masks()
    write_dicom_seg(tmp_path / "x.seg.dcm", masks, (20, 24), source, "m")
    np.testing.assert_array_equal(read_seg(tmp_path / "x.seg.dcm"), masks.unpack())
    if "PatientName" in tags:
        assert pydicom.dcmread(tmp_path / "x.seg.dcm").PatientName == tags["PatientName"]


def test_dicom_seg_is_refused_in_one_line(tmp_path):
    PilImage.new("L", (24, 20)).save(tmp_path / "x.png")
    masks = random_masks()
    with pytest.raises(ValueError, match=r"x\.png: not DICOM.*use format packed"):
        write_dicom_seg(tmp_path / "x.seg.dcm", masks, (20, 24), tmp_path / "x.png", "m")
    source = write_xray(tmp_path / "y.dcm", (20, 24), StudyInstanceUID=None)
    with pytest.raises(ValueError, match=r"y\.dcm: lacks StudyInstanceUID") as caught:
        write_dicom_seg(tmp_path / "y.seg.dcm", masks, (20, 24), source, "m")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.seg.dcm"))


def scheme_check(number: str) -> bool:
    """Return whether the check digit (Verhoeff's) of a SNOMED CT identifier fits."""
    permutations = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permutations.append([permutations[1][n] for n in permutations[-1]])

    def product(a, b):  # of the dihedral group of the pentagon
        if a < 5:
            return (a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5
        return (a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5

    check = 0
    for i, digit in enumerate(reversed(number)):
        check = product(check, permutations[i % 8][int(digit)])
    return check == 0


def test_codes_are_those_of_the_dictionary():
    table = Path(paxray_lib.__file__).parent / "masks/anatomy_codes.csv"
    known = {getattr(codes.SCT, name).value for name in codes.SCT.dir()}
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(scheme_check(row["code"]) for row in rows)
    assert not scheme_check("80891008")
    # pydicom's dictionary has no single ribs and no middle lobe without a side
    assert {row["part"] for row in rows if row["code"] not in known} <= {
        f"rib_{n}" for n in range(1, 13)
    }
    assert len({(row["code"], row["meaning"]) for row in rows}) == len(
        {row["code"] for row in rows}
    )


@pytest.mark.parametrize(
    ("name", "value", "modifiers"),
    [
        ("heart", codes.SCT.Heart.value, []),
        ("lung_right", codes.SCT.Lung.value, ["Right"]),
        ("lung_left_lobeupper", codes.SCT.UpperLobeOfLung.value, ["Left"]),
        ("mediastinum_posterior", codes.SCT.Mediastinum.value, ["Posterior"]),
        ("t7", codes.SCT.T7Vertebra.value, []),
        ("rib_left_anterior_12", "43993008", ["Left", "Anterior"]),
        ("hemidiaphragm_left", codes.SCT.Diaphragm.value, ["Left"]),
        ("aorta_arch", codes.SCT.AorticArch.value, []),
    ],
)
def test_codes_of_labels(name, value, modifiers):
    assert code_of(name)[0][:2] == (value, "SCT")
    assert [meaning for _, meaning in code_of(name)[1]] == modifiers


def test_labels_without_a_code_have_a_private_one():
    private = {name for name in LABELS.names if code_of(name)[0][1] == "99PAXRAY"}
    assert private == {
        *(
            "lung_right_vessel",
            "lung_left_vessel",
            "mediastinum_lower",
            "mediastinum_upper",
            "mediastinum_middle",
        ),
        *("l6", "t13"),
    }
    everything = [(code_of(name)[0][0], *code_of(name)[1]) for name in dict.fromkeys(LABELS.names)]
    # a whole and its only named part share a code where SNOMED CT does not part them
    assert len(everything) - len(set(everything)) == 0
