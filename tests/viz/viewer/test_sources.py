import zlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz.viewer.sources import (
    DatasetScenes,
    FolderScenes,
    OneScene,
    Scene,
    find_masks,
    find_name,
    pack_image,
    pack_masks,
    score_columns,
)


def unpack_image(data, height, width, channels):
    """The prediction undone, one pixel after the other."""
    rest = np.frombuffer(zlib.decompress(data), np.uint8).reshape(channels, height, width)
    out = np.zeros((channels, height + 1, width + 1), int)
    for c, y, x in np.ndindex(*rest.shape):
        left, up, corner = out[c, y + 1, x], out[c, y, x + 1], out[c, y, x]
        out[c, y + 1, x + 1] = (rest[c, y, x] + sorted((left, up, left + up - corner))[1]) % 256
    return out[:, 1:, 1:].transpose(1, 2, 0)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_images_travel_exactly(height, width, channels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    sent = pack_image(pixels if channels == 3 else pixels[..., 0])
    np.testing.assert_array_equal(unpack_image(sent, height, width, channels), pixels)


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 70),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_masks_travel_exactly(height, width, count, density, seed):
    labels = LabelSet([f"label {i}" for i in range(count)])
    masks = PackedMasks.pack(
        np.random.default_rng(seed).random((count, height, width)) < density, labels
    )
    number, data = pack_masks(masks)
    raw, size = zlib.decompress(data), number * masks.data.shape[2]
    sets = np.frombuffer(raw[:size], np.uint8).reshape(number, -1)
    ids = np.frombuffer(raw[size:], "<u2").reshape(height, width)
    np.testing.assert_array_equal(sets[ids], masks.data)
    assert not sets[0].any()
    assert len(np.unique(sets, axis=0)) == number


def test_more_than_65536_sets_take_four_bytes_a_pixel():
    rng = np.random.default_rng(0)
    masks = PackedMasks(rng.integers(0, 256, (280, 280, 21), np.uint8) & 63, LABELS)
    number, data = pack_masks(masks)
    assert number > 65536
    raw = zlib.decompress(data)
    ids = np.frombuffer(raw[number * 21 :], "<u4").reshape(280, 280)
    np.testing.assert_array_equal(
        np.frombuffer(raw[: number * 21], np.uint8).reshape(number, 21)[ids], masks.data
    )


def test_message_of_a_scene(tiny):
    sample = PaxrayDataset(tiny)[0]
    message = Scene(
        "a", np.zeros((48, 48, 3), np.uint8), sample.masks, None, "frontal", (0.5, 0.25)
    ).to_message()
    assert {
        key: message[key] for key in ("name", "view", "spacing", "width", "height", "channels")
    } == {
        "name": "a",
        "view": "frontal",
        "spacing": [0.5, 0.25],
        "width": 48,
        "height": 48,
        "channels": 3,
    }
    assert set(message["sets"]) == {"target"}
    assert "prediction" not in message


def test_scene_refuses_other_sizes_and_labels(tiny):
    sample, pixels = PaxrayDataset(tiny)[0], np.zeros((48, 48), np.uint8)
    with pytest.raises(
        ValueError, match="48 rows and 48 columns, but the predicted masks 24 and 24"
    ):
        Scene("a", pixels, sample.masks, sample.masks.resize(24, 24))
    with pytest.raises(ValueError, match="different labels"):
        Scene("a", pixels, sample.masks, sample.masks.select([17]))
    with pytest.raises(ValueError, match="nothing to show"):
        OneScene(Scene("a", pixels, None, None))


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


def test_dataset_scenes_with_a_folder_a_function_or_nothing(tiny, predictions):
    test = PaxrayDataset(tiny, split="test")
    plain = DatasetScenes(test)
    assert plain.names == [test[i].name for i in range(4)]
    assert plain.views == ["frontal", "lateral"] * 2
    assert plain.load(1).prediction is None
    assert plain.load(1).target == test[1].masks
    scenes = DatasetScenes(test, predictions)
    assert scenes.load(0).prediction == PackedMasks.read(predictions / f"{scenes.names[0]}.pxm")
    assert scenes.load(3).prediction is None
    assert DatasetScenes(test, lambda sample: sample.masks).load(2).prediction == test[2].masks


def test_folder_scenes(tiny, predictions):
    scenes = FolderScenes(tiny / "images", predictions)
    assert len(scenes.names) == 3
    assert scenes.labels == LABELS
    scene = scenes.load(0)
    assert scene.target is None
    assert scene.prediction == PackedMasks.read(predictions / f"{scene.name}.pxm")


def test_wrong_folders_are_named(tiny, predictions, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of predictions"):
        DatasetScenes(PaxrayDataset(tiny), tmp_path / "no")
    with pytest.raises(ValueError, match="bears the name"):
        DatasetScenes(PaxrayDataset(tiny), predictions)  # those of another split
    with pytest.raises(ValueError, match="bears the name"):
        FolderScenes(tiny / "images", tmp_path)


def test_masks_are_found_as_predict_names_them(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/s.pxm", "t.png.npy", "u.json"):
        (tmp_path / name).touch()
    assert find_masks(tmp_path, "a/s.png") == tmp_path / "a/s.pxm"
    assert find_masks(tmp_path, "t.png") == tmp_path / "t.png.npy"
    assert find_masks(tmp_path, "images/u.jpg") == tmp_path / "u.json"
    assert find_masks(tmp_path, "s.png") is None


def test_scores_are_put_in_the_order_of_the_images():
    table = pd.DataFrame(
        {"image": ["images/b.png", "images/a.png"], "case": ["x", "y"], "iou": [0.25, np.nan]}
    )
    assert score_columns(table, ["a", "b", "sub/b", "c"]) == {"iou": [None, 0.25, 0.25, None]}
    with pytest.raises(ValueError, match="column 'image'"):
        score_columns(table.drop(columns="image"), ["a"])
    with pytest.raises(ValueError, match="other images"):
        score_columns(table, ["z"])


def test_names_are_found_or_guessed():
    assert find_name(["case1", "case2"], "case2") == 1
    with pytest.raises(ValueError, match="did you mean"):
        find_name(["case1", "other"], "case")
