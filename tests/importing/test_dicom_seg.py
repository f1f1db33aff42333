"""DICOM Segmentations away and back: equal bits, paired by UID; what is refused."""

import re

import numpy as np
import pydicom
import pytest
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from hypothesis import given, settings
from hypothesis import strategies as st

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.importing.common import import_dataset
from paxray_lib.importing.dicom_seg import segmentation_source
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.dicom_seg import write_dicom_seg
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.prediction.predict import predict

FEW = LabelSet(["heart", "mediastinum_upper", "lung_left", "mediastinum_upper"])


def random_masks(shape, labels=FEW, seed=0):
    rng = np.random.default_rng(seed)
    return PackedMasks.pack(rng.random((len(labels), *shape)) < 0.4, labels)


def bring(folder, out="out"):
    source = segmentation_source(folder / "films", folder / "segs")
    return import_dataset(source, folder / out, split="val")


@pytest.fixture
def folder(tmp_path):
    """Two films; their segmentations have names that say nothing."""
    (tmp_path / "films").mkdir()
    (tmp_path / "segs").mkdir()
    for i, name in enumerate("ab"):
        film = write_xray(tmp_path / f"films/{name}.dcm", (20, 24))
        masks = random_masks((20, 24), seed=i)
        write_dicom_seg(tmp_path / f"segs/{9 - i}.dcm", masks, (20, 24), film, "m")
    return tmp_path


def change(path, function):
    dataset = pydicom.dcmread(path)
    function(dataset)
    dataset.save_as(path)


def test_masks_come_back_to_their_films_by_uid(folder):
    done = bring(folder)
    assert (dict(done.counts), done.failed, done.notes) == ({"ok": 2}, [], [])
    dataset = PaxrayDataset(folder / "out", split="val")
    assert [entry.image for entry in dataset.entries] == ["images/a.dcm", "images/b.dcm"]
    assert [dataset.masks(i) for i in range(2)] == [random_masks((20, 24), seed=i) for i in (0, 1)]
    assert dataset[0].image.shape == (20, 24)
    assert dict(bring(folder).counts) == {"skipped": 2}


@settings(max_examples=15, deadline=None)
@given(st.tuples(st.integers(2, 40), st.integers(2, 40)), st.integers(0, 99))
def test_any_masks_come_back(tmp_path_factory, size, seed):
    folder, masks = tmp_path_factory.mktemp("seg"), random_masks(size, seed=seed)
    (folder / "films").mkdir()
    film = write_xray(folder / "films/x.dcm", size)
    write_dicom_seg(folder / "segs/x.dcm", masks, size, film, "m")
    assert not bring(folder).failed
    assert PaxrayDataset(folder / "out", split="val").masks(0) == masks


def test_real_size(tmp_path):
    (tmp_path / "films").mkdir()
    film = write_xray(tmp_path / "films/x.dcm", (512, 512))
    masks = random_masks((512, 512), LABELS)
    write_dicom_seg(tmp_path / "segs/x.dcm", masks, (512, 512), film, "m")
    assert not bring(tmp_path).failed
    assert PaxrayDataset(tmp_path / "out", split="val").masks(0) == masks


def test_predictions_beside_their_films(tmp_path):
    for name in ("x", "y"):
        write_xray(tmp_path / f"{name}.dcm", (20, 24))
    predict(Threshold(), tmp_path, tmp_path, format="dicom-seg")
    (tmp_path / "y.seg.dcm").unlink()
    source = segmentation_source(tmp_path, tmp_path)
    assert [item.name for item in source.items] == ["x"]
    assert source.notes == ("1 images without a segmentation left out",)
    assert not source.failed


def test_a_label_without_a_segment_is_not_known_and_an_empty_one_absent(folder):
    film = folder / "films/a.dcm"
    stack = np.zeros((2, 20, 24), bool)
    stack[1, 3:9, 3:9] = True
    masks = PackedMasks.pack(stack, LabelSet(["mediastinum_upper", "aorta"]))
    write_dicom_seg(folder / "segs/9.dcm", masks, (20, 24), film, "m")
    done = bring(folder)
    dataset = PaxrayDataset(folder / "out", split="val")
    assert sorted(dataset.labels.names) == sorted([*FEW.names, "aorta"])
    one = dataset.masks(0)
    known = {dataset.labels.names[i] for i in np.flatnonzero(one.known)}
    assert known <= {"aorta", "mediastinum_upper"}
    assert "aorta" in known
    assert one.counts().sum() == 36
    assert "heart: not known in 1 images" in done.notes


REFERENCE = "ReferencedSOPInstanceUID"


def other_film(dataset):
    for series in dataset.ReferencedSeriesSequence:
        series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            derivation.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def two_films(dataset):
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0][REFERENCE].value = "1.2.3"


def frames_of_one_segment(dataset):
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1


def frame_of_no_segment(dataset):
    frames = dataset.PerFrameFunctionalGroupsSequence
    frames[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 99


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (other_film, "of the image 1.2.3, which is not in .*add that image"),
        (two_films, "refers to 2 images"),
        (frames_of_one_segment, "two frames of a segment"),
        (frame_of_no_segment, "a frame of none"),
        (lambda d: setattr(d, "SegmentationType", "FRACTIONAL"), "BINARY"),
        (lambda d: setattr(d, "Rows", 10), "it is of 10 x 24, but .*a.dcm of 20 x 24"),
        (lambda d: setattr(d, "PixelData", b"\0\0"), "cut short"),
        (lambda d: setattr(d.SegmentSequence[1], "SegmentLabel", " "), "label names"),
        (lambda d: delattr(d, "SegmentSequence"), "SegmentSequence"),
    ],
)
def test_one_that_does_not_fit_is_listed_and_the_rest_goes_on(folder, damage, words):
    change(folder / "segs/9.dcm", damage)
    done = bring(folder)
    assert done.counts["ok"] == 1
    (line,) = done.failed
    assert "segs/9.dcm" in line
    assert re.search(words, line), line


def test_two_segmentations_of_a_film_are_not_chosen_from(folder):
    (folder / "segs/copy.dcm").write_bytes((folder / "segs/9.dcm").read_bytes())
    done = bring(folder)
    assert done.counts["ok"] == 1
    assert "films/a.dcm: has 2 segmentations" in done.failed[0]


def test_two_films_of_one_uid_are_not_chosen_from(folder):
    (folder / "films/copy.dcm").write_bytes((folder / "films/a.dcm").read_bytes())
    done = bring(folder)
    assert done.counts["ok"] == 1
    (line,) = done.failed
    assert re.search(
        r"films/a\.dcm, .*films/copy\.dcm: 2 images of one UID, [\d.]+; keep one", line
    )
    assert not done.notes


def without_film(dataset):
    other_film(dataset)
    for series in dataset.ReferencedSeriesSequence:
        series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = ""
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            derivation.SourceImageSequence[0].ReferencedSOPInstanceUID = ""


def test_one_that_names_no_film_is_not_that_of_a_film_without_uid(folder):
    change(folder / "segs/9.dcm", without_film)
    change(folder / "films/a.dcm", lambda film: setattr(film, "SOPInstanceUID", ""))
    done = bring(folder)
    assert done.counts["ok"] == 1
    (line,) = done.failed
    assert re.search(r"segs/9\.dcm: .*it refers to 0 images", line), line
    assert done.notes[0] == "1 images without a segmentation left out"


def test_a_folder_without_any(folder):
    with pytest.raises(ValueError, match=r"films: no DICOM segmentation"):
        segmentation_source(folder / "films", folder / "films")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        segmentation_source(folder / "films", folder / "nowhere")
