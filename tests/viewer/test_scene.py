import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viewer.scene import Scene, pack_masks, pack_planes


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
    sent = pack_planes(pixels.transpose(2, 0, 1))
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
