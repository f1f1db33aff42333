"""Which CT belongs to which segmentation."""

import pytest

from paxray_lib.ct.pairing import find_cases


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pairs(ct, segmentation):
    cases, unmatched = find_cases(ct, segmentation)
    return {case.name: (case.ct.name, case.segmentation.name) for case in cases}, unmatched


def test_two_files(tmp_path):
    touch(tmp_path, "anything_ct.nii.gz", "other.nii")
    found, unmatched = pairs(tmp_path / "anything_ct.nii.gz", tmp_path / "other.nii")
    assert found == {"anything": ("anything_ct.nii.gz", "other.nii")}
    assert not unmatched


def test_ct_of_totalsegmentators_data_set_is_named_after_its_folder(tmp_path, monkeypatch):
    touch(tmp_path / "s7", "ct.nii.gz", "segmentations/heart.nii.gz")
    assert set(pairs(tmp_path / "s7/ct.nii.gz", tmp_path / "s7/segmentations")[0]) == {"s7"}
    monkeypatch.chdir(tmp_path / "s7")
    assert set(pairs("ct.nii.gz", "segmentations")[0]) == {"s7"}


def test_two_folders(tmp_path):
    touch(
        tmp_path / "ct",
        "a.nii.gz",
        "b_ct.nii",
        "c_0000.nii.gz",
        "d.nii.gz",
        "lonely.nii.gz",
        "notes.txt",
    )
    touch(
        tmp_path / "seg",
        "a.nii.gz",
        "b_seg.nii.gz",
        "c.nii.gz",
        "d/heart.nii.gz",
        "alone_totalseg.nii.gz",
    )
    found, unmatched = pairs(tmp_path / "ct", tmp_path / "seg")
    assert found == {
        "a": ("a.nii.gz", "a.nii.gz"), "b": ("b_ct.nii", "b_seg.nii.gz"),
        "c": ("c_0000.nii.gz", "c.nii.gz"), "d": ("d.nii.gz", "d"),
    }  # fmt: skip
    assert [message.split(": ")[1] for message in unmatched] == [
        "no segmentation named lonely",
        "no CT named alone",
    ]


def test_one_folder_for_both(tmp_path):
    touch(
        tmp_path,
        "p1_ct.nii.gz",
        "p1_totalseg.nii.gz",
        "p1_totalseg_labels.tsv",
        "p2.nii.gz",
        "p2_seg.nii.gz",
    )
    found, unmatched = pairs(tmp_path, tmp_path)
    assert found == {
        "p1": ("p1_ct.nii.gz", "p1_totalseg.nii.gz"),
        "p2": ("p2.nii.gz", "p2_seg.nii.gz"),
    }
    assert not unmatched


def test_one_folder_with_the_names_of_nnunet(tmp_path):
    touch(tmp_path, "a_0000.nii.gz", "a.nii.gz", "b_ct.nii", "b.nii.gz", "lonely.nii.gz")
    found, unmatched = pairs(tmp_path, tmp_path)
    assert found == {"a": ("a_0000.nii.gz", "a.nii.gz"), "b": ("b_ct.nii", "b.nii.gz")}
    assert unmatched == [f"{tmp_path}/lonely.nii.gz: no segmentation named lonely"]


def test_layout_of_totalsegmentators_data_set(tmp_path):
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations/heart.nii.gz", "s2/ct.nii.gz", "meta.csv")
    touch(tmp_path, "s3/ct.nii", "s3/segmentations/heart.nii")
    found, unmatched = pairs(tmp_path, tmp_path)
    assert found == {"s1": ("ct.nii.gz", "segmentations"), "s3": ("ct.nii", "segmentations")}
    assert unmatched == [f"{tmp_path}/s2/ct.nii.gz: no segmentation named s2"]


def test_case_folder_with_one_file_for_all_structures(tmp_path):
    touch(tmp_path, "s1/ct.nii.gz", "s1/segmentations.nii.gz", "s2/CT.nii.gz", "s2/totalseg.nii")
    found, unmatched = pairs(tmp_path, tmp_path)
    assert found == {
        "s1": ("ct.nii.gz", "segmentations.nii.gz"),
        "s2": ("CT.nii.gz", "totalseg.nii"),
    }
    assert not unmatched


def test_case_of_letters_does_not_matter(tmp_path):
    touch(tmp_path / "p1", "CT.nii.gz", "SEG.nii.gz")
    assert set(pairs(tmp_path / "p1/CT.nii.gz", tmp_path / "p1/SEG.nii.gz")[0]) == {"p1"}
    touch(tmp_path / "both", "a_CT.nii.gz", "a_SEG.nii.gz", "b_Ct.NII", "b_Totalseg.nii.gz")
    found, unmatched = pairs(tmp_path / "both", tmp_path / "both")
    assert found == {"a": ("a_CT.nii.gz", "a_SEG.nii.gz"), "b": ("b_Ct.NII", "b_Totalseg.nii.gz")}
    assert not unmatched


def test_errors(tmp_path):
    touch(tmp_path / "ct", "a.nii.gz", "a_ct.nii.gz")
    touch(tmp_path / "seg", "a.nii.gz")
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="same case 'a'"):
        find_cases(tmp_path / "ct", tmp_path / "seg")
    with pytest.raises(FileNotFoundError, match=r"no .nii or .nii.gz"):
        find_cases(tmp_path / "none", tmp_path / "seg")
    with pytest.raises(FileNotFoundError, match="missing"):
        find_cases(tmp_path / "missing", tmp_path / "seg")
    with pytest.raises(ValueError, match="must be one too"):
        find_cases(tmp_path / "seg", tmp_path / "seg" / "a.nii.gz")
