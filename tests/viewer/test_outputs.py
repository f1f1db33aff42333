from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.threshold_model import Threshold
from PIL import Image as PilImage

from paxray_lib.prediction.predict import predict
from paxray_lib.viewer.outputs import find_masks, score_columns


def test_masks_are_found_as_predict_names_them(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/s.pxm", "t.png.npy", "u.json"):
        (tmp_path / name).touch()
    images = [Path(name) for name in ("a/s.png", "t.png", "images/u.jpg", "s.png")]
    *found, missing = find_masks(tmp_path, tmp_path, images, "the test")
    assert found == [tmp_path / name for name in ("a/s.pxm", "t.png.npy", "u.json")]
    assert missing is None


def test_masks_of_several_folders_lie_below_the_names_of_these(tmp_path):
    images = {name: tmp_path / name / "images/x.png" for name in ("sample", "examples")}
    for path in images.values():
        path.parent.mkdir(parents=True)
        PilImage.fromarray(np.eye(64, dtype=np.uint8)).save(path)
    report = predict(Threshold(), list(images.values()), tmp_path / "out")
    for (name, path), output in zip(images.items(), report["output"], strict=True):
        assert output == f"{name}/images/x.pxm"
        for root in (tmp_path / name, path.parent):
            found = find_masks(tmp_path / "out", root, [path.relative_to(root)], "the test")
            assert found == [tmp_path / "out" / output]


def test_scores_are_put_in_the_order_of_the_images():
    table = pd.DataFrame(
        {"image": ["images/b.png", "images/a.png"], "case": ["x", "y"], "iou": [0.25, np.nan]}
    )
    assert score_columns(table, ["a", "b", "sub/b", "c"]) == {"iou": [None, 0.25, 0.25, None]}
    with pytest.raises(ValueError, match="column 'image'"):
        score_columns(table.drop(columns="image"), ["a"])
    with pytest.raises(ValueError, match="other images"):
        score_columns(table, ["z"])
