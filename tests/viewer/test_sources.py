from pathlib import Path

import numpy as np
import pytest
from helpers.threshold_model import Threshold
from helpers.xrays import write_xray
from PIL import Image as PilImage

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.masks.probabilities import Probabilities
from paxray_lib.prediction.predict import predict
from paxray_lib.utils import write_table
from paxray_lib.viewer.outputs import find_masks
from paxray_lib.viewer.sources import (
    from_dataset,
    from_folder,
    from_image,
)


@pytest.fixture(scope="module")
def predictions(tiny, tmp_path_factory):
    """Shifted targets of the test split as predictions, all but one."""
    folder = tmp_path_factory.mktemp("predictions")
    test = PaxrayDataset(tiny, split="test")
    for i in range(len(test) - 1):
        masks = test.masks(i)
        PackedMasks(np.roll(masks.data, 3, 0), masks.labels).write(
            folder / f"{test.image_path(i).stem}.pxm"
        )
    return folder


def test_images_of_a_data_set_with_a_folder_a_function_or_nothing(tiny, predictions):
    test = PaxrayDataset(tiny, split="test")
    plain = from_dataset(test)
    assert plain.names == [test[i].name for i in range(4)]
    assert plain.views == ["frontal", "lateral"] * 2
    assert plain.load(1).prediction is None
    assert plain.load(1).target == test[1].masks
    scenes = from_dataset(test, predictions)
    assert scenes.load(0).prediction == PackedMasks.read(predictions / f"{scenes.names[0]}.pxm")
    assert scenes.load(3).prediction is None
    assert from_dataset(test, lambda sample: sample.masks).load(2).prediction == test[2].masks


def test_images_of_a_folder(tiny, predictions):
    scenes = from_folder(tiny / "images", predictions)
    assert len(scenes.names) == 3
    assert scenes.labels == LABELS
    scene = scenes.load(0)
    assert scene.target is None
    assert scene.prediction == PackedMasks.read(predictions / f"{scene.name}.pxm")


def test_dicom_segmentations_of_a_folder(tmp_path):
    write_xray(tmp_path / "in.dcm", (40, 50))
    predict(Threshold(), tmp_path / "in.dcm", tmp_path / "out", format="dicom-seg")
    scene = from_image(tmp_path / "in.dcm", tmp_path / "out/in.seg.dcm", None).load(0)
    assert find_masks(tmp_path / "out", tmp_path, [Path("in.dcm")], "it") == [
        tmp_path / "out/in.seg.dcm"
    ]
    assert scene.target == PackedMasks.read(tmp_path / "out/in.seg.dcm")


def test_wrong_folders_are_named(tiny, predictions, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of predictions"):
        from_dataset(PaxrayDataset(tiny), tmp_path / "no")
    with pytest.raises(ValueError, match="bears the name"):
        from_dataset(PaxrayDataset(tiny), predictions)  # those of another split
    with pytest.raises(ValueError, match="bears the name"):
        from_folder(tiny / "images", tmp_path)


def test_a_single_image_needs_masks(tiny):
    sample = PaxrayDataset(tiny)[0]
    assert from_image(sample.image, None, sample.masks).load(0).prediction == sample.masks
    with pytest.raises(ValueError, match="nothing to show"):
        from_image(sample.image, None, None)


def test_a_prediction_brings_its_probabilities_and_its_report(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8)
    for name, image in zip("abc", pixels, strict=True):
        PilImage.fromarray(image).save(tmp_path / f"{name}frontal.png")
    out = tmp_path / "out"
    report = predict(Threshold(), tmp_path, out, probabilities="heart")
    report["doubt"] = [0.25, 0.5, np.nan]
    write_table(out / "report.csv", report.iloc[::-1])
    source = from_folder(tmp_path, out)
    assert source.scores["doubt"] == [0.25, 0.5, None]
    assert source.scores["broken_rules"] == report["broken_rules"].tolist()
    scene = source.load(1)
    np.testing.assert_array_equal(
        scene.probabilities.values,
        Probabilities.read(out / "bfrontal.probabilities.npz").values,
    )
    path = tmp_path / "bfrontal.png"
    assert from_image(path, None, out / "bfrontal.pxm").load(0).probabilities is not None
    assert from_image(path, out / "bfrontal.pxm", None).load(0).probabilities is None
    (out / "bfrontal.probabilities.npz").write_text("damaged")
    with pytest.raises(ValueError, match=r"bfrontal\.probabilities\.npz"):
        source.load(1)
