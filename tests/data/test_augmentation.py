"""Augmentation against plain steps, pixel by pixel."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.augmentation import (
    AugmentConfig,
    Params,
    apply,
    change_intensity,
    draw,
    source_indices,
)
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

SIDES = LabelSet(["heart", "lung_left", "lung_right", "aorta"])
EVERYTHING = AugmentConfig(
    image_size=40,
    crop_size=32,
    flip_prob=0.5,
    rotate_degrees=10,
    zoom=0.1,
    brightness=0.1,
    contrast=0.2,
    gamma=0.3,
    noise=0.05,
)


def sample(seed, height=19, width=23, labels=SIDES):
    rng = np.random.default_rng(seed)
    masks = PackedMasks.pack(rng.random((len(labels), height, width)) < 0.4, labels)
    return rng.random((height, width), dtype=np.float32), masks


def still(size, **changes):
    return replace(Params(size=size, height=size, width=size, top=0, left=0, crop=size), **changes)


def resize_slowly(stack, height, width):
    """Nearest: destination * in // out, one pixel at a time."""
    out = np.zeros((len(stack), height, width), stack.dtype)
    for y, x in np.ndindex(height, width):
        out[:, y, x] = stack[:, y * stack.shape[1] // height, x * stack.shape[2] // width]
    return out


@st.composite
def rigid_params(draw):
    size = draw(st.integers(4, 24))
    crop = draw(st.integers(1, size))
    height, width = draw(st.integers(crop, 30)), draw(st.integers(crop, 30))
    return Params(
        size=size,
        height=height,
        width=width,
        top=draw(st.integers(0, height - crop)),
        left=draw(st.integers(0, width - crop)),
        crop=crop,
        flip=draw(st.sampled_from(["frontal", "lateral", None])),
    )


@given(st.integers(0, 99), rigid_params())
def test_one_gather_equals_resize_resize_crop_flip_in_turn(seed, params):
    masks = sample(seed)[1]
    stack = resize_slowly(
        resize_slowly(masks.unpack(), params.size, params.size), params.height, params.width
    )
    stack = stack[:, params.top : params.top + params.crop, params.left : params.left + params.crop]
    if params.flip:
        stack = stack[..., ::-1]
    if params.flip == "frontal":
        stack = stack[[0, 2, 1, 3]]  # the left lung is now where the right one was
    moved = apply(params, np.zeros(masks.shape[1:], np.float32), masks)[1]
    np.testing.assert_array_equal(moved.unpack(), stack)
    assert moved.labels == SIDES


@given(st.integers(0, 99), rigid_params())
def test_the_image_moves_with_its_masks(seed, params):
    masks = sample(seed, params.size, params.size)[1]
    pixels = masks.unpack()[0].astype(np.float32)  # the heart, which no flip renames
    moved, moved_masks = apply(params, pixels, masks)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(moved, moved_masks.unpack()[0])


def turn_slowly(stack, params):
    """Look up, for the centre of each pixel of the crop, the source pixel it came from."""
    out = np.zeros((len(stack), params.crop, params.crop), stack.dtype)
    for row, column in np.ndindex(params.crop, params.crop):
        x, y = column + 0.5 - params.crop / 2, row + 0.5 - params.crop / 2
        x = -x if params.flip else x
        radius, angle = math.hypot(x, -y), math.atan2(-y, x)  # counterclockwise, y up
        radius, angle = radius / params.zoom, angle - math.radians(params.degrees)
        x = params.left + params.crop / 2 + radius * math.cos(angle)
        y = params.top + params.crop / 2 - radius * math.sin(angle)
        x, y = (
            math.floor(x * stack.shape[2] / params.width),
            math.floor(y * stack.shape[1] / params.height),
        )
        if 0 <= y < stack.shape[1] and 0 <= x < stack.shape[2]:
            out[:, row, column] = stack[:, y, x]
    return out


@given(st.integers(0, 99), rigid_params(), st.floats(-180, 180).filter(bool), st.floats(0.6, 1.6))
def test_rotation_and_zoom_equal_a_loop_over_pixels(seed, params, degrees, zoom):
    params = replace(params, degrees=degrees, zoom=zoom)
    masks = sample(seed)[1]
    expected = turn_slowly(masks.unpack(), params)
    if params.flip == "frontal":
        expected = expected[[0, 2, 1, 3]]
    found = apply(params, np.zeros(masks.shape[1:], np.float32), masks)[1].unpack()
    # a position on an edge may round either way
    assert (found != expected).any(0).sum() <= 1 + params.crop**2 // 100


@pytest.mark.parametrize("size", [16, 17])
def test_a_quarter_turn_is_exact(size):
    pixels, masks = sample(0, size, size)
    moved, moved_masks = apply(still(size, degrees=90.0), pixels, masks)
    np.testing.assert_array_equal(moved_masks.unpack(), np.rot90(masks.unpack(), axes=(1, 2)))
    np.testing.assert_allclose(moved, np.rot90(pixels), atol=1e-4)


@pytest.mark.parametrize("flip", [None, "lateral"])
def test_rotated_image_and_masks_agree(flip):
    y, x = np.indices((90, 90))
    blob = ((y - 30) ** 2 + (x - 55) ** 2 < 400) | ((y > 60) & (x < 30))
    params = Params(90, 104, 97, 9, 5, 80, flip=flip, degrees=12.0, zoom=1.1)
    pixels, masks = apply(
        params, blob.astype(np.float32), PackedMasks.pack(blob[None], LabelSet(["heart"]))
    )
    assert ((pixels > 0.5) != masks.unpack()[0]).mean() < 0.005


def test_what_comes_in_from_outside_is_empty():
    masks = PackedMasks.pack(np.ones((1, 20, 20), bool), LabelSet(["heart"]))
    pixels, masks = apply(still(20, zoom=0.5), np.ones((20, 20), np.float32), masks)
    assert masks.counts().tolist() == [100]
    assert pixels[0, 0] == 0
    assert pixels[10, 10] == 1


def test_a_frontal_flip_twice_is_nothing():
    pixels, masks = sample(3, 16, 16, LABELS)
    flip = still(16, flip="frontal")
    once = apply(flip, pixels, masks)
    assert once[1] != masks
    twice = apply(flip, *once)
    assert twice[1] == masks
    np.testing.assert_array_equal(twice[0], pixels)


def test_an_image_of_another_size_is_brought_to_the_square_bilinearly():
    pixels = np.tile(np.arange(8, dtype=np.float32) / 8, (4, 1))
    moved = apply(still(4), pixels, sample(0, 4, 8)[1])[0]
    # half-pixel centres
    np.testing.assert_allclose(moved, np.tile([1 / 16, 5 / 16, 9 / 16, 13 / 16], (4, 1)))


def test_intensity_is_what_it_says():
    pixels = torch.tensor([[0.0, 0.25], [0.5, 1.0]])

    def changed(**changes):
        return change_intensity(still(2, **changes), pixels)

    assert torch.equal(changed(), pixels)
    torch.testing.assert_close(changed(gamma=2.0), pixels**2)
    torch.testing.assert_close(changed(brightness=0.25), (pixels + 0.25).clamp(max=1))
    torch.testing.assert_close(changed(contrast=0.5), 0.25 + pixels / 2)
    gray, noise = torch.full((100, 100), 0.5), still(100, noise=0.1, noise_seed=7)
    noisy = change_intensity(noise, gray)
    assert noisy.std() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(noisy, change_intensity(noise, gray))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["frontal", "lateral", None]))
def test_draws_depend_on_the_seed_alone_and_stay_inside(seed, view):
    params = draw(np.random.default_rng(seed), EVERYTHING, view)
    assert params == draw(np.random.default_rng(seed), EVERYTHING, view)
    assert params.flip in (view, None)
    assert 0 <= params.top <= params.height - 32
    assert 0 <= params.left <= params.width - 32
    assert abs(params.degrees) <= 10
    assert 1 / 1.1 <= params.zoom <= 1.1
    pixels, masks = sample(seed)
    pixels_before, data_before = pixels.copy(), masks.data.copy()
    moved, moved_masks = apply(params, pixels, masks)
    assert moved.shape == moved_masks.shape[1:] == (32, 32)
    assert moved.min() >= 0
    assert moved.max() <= 1
    np.testing.assert_array_equal(pixels, pixels_before)
    np.testing.assert_array_equal(masks.data, data_before)


def test_the_published_recipe():
    rng = np.random.default_rng(0)
    drawn = [draw(rng, AugmentConfig(), "frontal") for _ in range(4000)]
    resized = [p for p in drawn if (p.height, p.width) != (512, 512)]
    assert len(resized) / len(drawn) == pytest.approx(0.6, abs=0.03)
    for side in ("height", "width"):
        assert {getattr(p, side) for p in resized} == set(range(480, 614))
    assert abs(np.corrcoef([p.height for p in resized], [p.width for p in resized])[0, 1]) < 0.1
    assert {p.top for p in drawn if p.height == 512} == set(range(33))
    for p in drawn[:100]:
        assert replace(p, size=0, height=0, width=0, top=0, left=0, noise_seed=0) == Params(
            0, 0, 0, 0, 0, 480
        )


def test_turning_one_thing_on_does_not_change_the_other_draws():
    for seed in range(20):
        plain = draw(np.random.default_rng(seed), AugmentConfig(), "frontal")
        more = draw(
            np.random.default_rng(seed),
            AugmentConfig(flip_prob=1, noise=0.1, rotate_degrees=5),
            "frontal",
        )
        assert more.flip == "frontal"
        assert replace(more, flip=None, noise=0.0, degrees=0.0) == plain


def test_an_unknown_view_is_never_flipped():
    config = AugmentConfig(flip_prob=1)
    assert draw(np.random.default_rng(0), config, None).flip is None
    assert draw(np.random.default_rng(0), config, "lateral").flip == "lateral"


def test_crop_of_the_full_size_without_room_to_resize():
    params = draw(
        np.random.default_rng(0), AugmentConfig(64, 64, resize_prob=1, resize_scale=1), "frontal"
    )
    assert (params.height, params.width, params.top, params.left) == (64, 64, 0, 0)
    rows, columns = source_indices(params, 64, 128)
    assert rows.tolist() == list(range(64))
    assert columns.tolist() == list(range(0, 128, 2))


@pytest.mark.parametrize("field", [f.name for f in fields(AugmentConfig)])
def test_values_out_of_range_are_refused_by_name(field):
    with pytest.raises(ValueError, match=rf"^{field} must .*not -1"):
        AugmentConfig(**{field: -1})
    if field not in ("image_size", "crop_size"):
        with pytest.raises(ValueError, match=field):
            AugmentConfig(**{field: float("nan")})


def test_errors_say_what_is_wrong():
    pixels, masks = sample(0)
    with pytest.raises(ValueError, match=r"\(23, 19\) and \(19, 23\)"):
        apply(still(8), pixels.T, masks)
    with pytest.raises(ValueError, match="cannot mirror"):
        apply(still(8, flip="frontal"), pixels, sample(0, labels=LabelSet(["lung_left"]))[1])
