import numpy as np
import pytest
from helpers.stacks import pack, some_labels, stacks
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks

SIDED = LabelSet(
    ["heart", "rib_left_1", "rib_right_1", "lung_right_lobemiddle", "tooth", *LABELS.names[115:135]]
)


@pytest.fixture
def masks():
    return pack(np.random.default_rng(0).random((166, 9, 11)) < 0.3)


# -- to and from plain arrays


@given(stacks())
def test_pack_puts_label_i_at_bit_i_modulo_8(stack):
    masks = pack(stack)
    count, height, width = stack.shape
    assert masks.shape == stack.shape
    assert masks.data.shape == (height, width, (count + 7) // 8)
    expected = np.packbits(stack.transpose(1, 2, 0), axis=2, bitorder="little")
    np.testing.assert_array_equal(masks.data, expected)
    np.testing.assert_array_equal(masks.unpack(), stack)
    assert masks.unpack().dtype == bool


@given(stacks(), st.sampled_from([np.uint8, np.int64, np.float32, np.float16]))
def test_pack_takes_numbers_in_any_memory_order(stack, dtype):
    masks = pack(stack)
    assert pack(stack.astype(dtype)) == masks
    assert pack(np.asfortranarray(stack)) == masks
    assert pack(np.repeat(stack, 2, axis=2)[:, :, ::2]) == masks
    assert pack(stack.tolist(), some_labels(len(stack))) == masks


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (255, np.uint8, "'part 1' holds 255, .*compare a 0/255 stack with > 0"),
        (2, np.int16, "holds 2, but only 0 and 1"),
        (-1, np.int8, "holds -1"),
        (0.5, np.float32, "holds 0.5, .*threshold"),
        (np.nan, np.float64, "holds nan"),
        (1, complex, "complex128"),
        ("1", object, "object"),
    ],
)
def test_pack_refuses_other_values(value, dtype, message):
    stack = np.zeros((3, 4, 5), dtype)
    stack[1, 2, 3] = value
    with pytest.raises(ValueError, match=message):
        pack(stack)


def test_pack_refuses_bool_bytes_that_are_neither_0_nor_1():
    with pytest.raises(ValueError, match="holds 255"):
        pack(np.full((1, 2, 2), 255, np.uint8).view(bool))


@pytest.mark.parametrize("shape", [(2, 4, 5), (4, 5), (3, 4, 5, 1)])
def test_pack_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"of 3 labels must be \(3, H, W\) of 0 and 1, got"):
        pack(np.zeros(shape), some_labels(3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 5, 1), np.int8), "int8; to pack a .* use PackedMasks.pack"),
        (np.zeros((4, 5, 2), np.uint8), r"\(H, W, 1\) uint8, got \(4, 5, 2\)"),
        (np.zeros((0, 5, 1), np.uint8), r"got \(0, 5, 1\)"),
        (np.full((4, 5, 1), 8, np.uint8), "bits beyond label 2"),
    ],
)
def test_data_must_fit_the_labels(data, message):
    with pytest.raises(ValueError, match=message):
        PackedMasks(data, some_labels(3))


def test_equality_is_by_value_and_labels(masks):
    assert masks == PackedMasks(masks.data.copy(), LABELS)
    assert masks != pack(~masks.unpack())
    assert masks != PackedMasks(masks.data, LabelSet(reversed(LABELS.names)))
    assert masks != masks.data
    assert repr(masks) == "PackedMasks(shape=(166, 9, 11), 0.0 MB)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(masks)


# -- reading


@given(stacks())
def test_counts_and_pixels(stack):
    masks = pack(stack)
    counts = masks.counts()
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, stack.sum(axis=(1, 2)))
    assert masks.at(0, -1) == np.flatnonzero(stack[:, 0, -1]).tolist()


@given(stacks(), st.data())
def test_union_and_select(stack, data):
    masks, labels = pack(stack), some_labels(len(stack))
    indices = data.draw(st.lists(st.integers(0, len(stack) - 1), min_size=1, max_size=5))
    np.testing.assert_array_equal(
        masks.union(*(labels[i] for i in indices)), stack[indices].any(axis=0)
    )
    np.testing.assert_array_equal(masks.union(), stack.any(axis=0))
    chosen = masks.select(indices)
    assert chosen.labels.names == tuple(labels[i] for i in indices)
    np.testing.assert_array_equal(chosen.unpack(), stack[indices])


def test_unpack_and_union_take_groups_and_patterns(masks):
    stack = masks.unpack()
    np.testing.assert_array_equal(masks.unpack("mediastinum_upper"), stack[[12, 16]])
    np.testing.assert_array_equal(
        masks.unpack(["heart", "rib_left_?"]), stack[LABELS.select("heart", "rib_left_?")]
    )
    np.testing.assert_array_equal(
        masks.union("vertebrae"), stack[LABELS.select("vertebrae")].any(axis=0)
    )


@pytest.mark.parametrize("method", ["unpack", "union"])
def test_unknown_labels_list_near_matches(masks, method):
    with pytest.raises(ValueError, match="'hart'; did you mean 'heart'"):
        getattr(masks, method)("hart")


@pytest.mark.parametrize("indices", [[], [-1], [0, 166]])
def test_select_refuses_indices_that_do_not_exist(masks, indices):
    with pytest.raises(ValueError, match=r"must be in 0\.\.165"):
        masks.select(indices)


# -- moving pixels


@given(stacks(st.integers(1, 20)), st.integers(1, 40), st.integers(1, 40))
def test_resize_is_nearest_in_exact_integers(stack, height, width):
    _, rows, columns = stack.shape
    resized = pack(stack).resize(height, width)
    expected = np.empty((len(stack), height, width), bool)
    for row in range(height):
        for column in range(width):
            expected[:, row, column] = stack[:, row * rows // height, column * columns // width]
    np.testing.assert_array_equal(resized.unpack(), expected)


@given(stacks(), st.data())
def test_crop(stack, data):
    _, rows, columns = stack.shape
    top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    height, width = data.draw(st.integers(1, rows - top)), data.draw(st.integers(1, columns - left))
    cropped = pack(stack).crop(top, left, height, width)
    np.testing.assert_array_equal(
        cropped.unpack(), stack[:, top : top + height, left : left + width]
    )


@pytest.mark.parametrize(
    "box", [(-1, 0, 2, 2), (0, -1, 2, 2), (0, 0, 10, 2), (0, 5, 2, 7), (0, 0, 0, 2)]
)
def test_crop_must_lie_inside(masks, box):
    with pytest.raises(ValueError, match="leaves masks of 9 x 11"):
        masks.crop(*box)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_resize_needs_a_size(masks, size):
    with pytest.raises(ValueError, match=f"cannot resize masks to {size[0]} x {size[1]}"):
        masks.resize(*size)


@given(stacks(), st.data())
def test_gather(stack, data):
    _, rows, columns = stack.shape
    chosen = [
        np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=30)))
        for n in (rows, columns)
    ]
    np.testing.assert_array_equal(
        pack(stack).gather(*chosen).unpack(), stack[:, chosen[0]][:, :, chosen[1]]
    )


def other_side(name):
    if name == "lung_right_lobemiddle":  # the left lung has no middle lobe
        return name
    return name.replace("left", "right") if "left" in name else name.replace("right", "left")


@pytest.mark.parametrize("labels", [LABELS, SIDED], ids=["published", "few"])
@given(data=st.data())
def test_flip_swaps_sides_in_frontal_images_only(labels, data):
    stack = data.draw(stacks(st.just(len(labels))))
    masks = pack(stack, labels)
    flipped = masks.flip("frontal").unpack()
    for name in set(labels):
        np.testing.assert_array_equal(
            flipped[labels.index(other_side(name))], stack[labels.index(name), :, ::-1]
        )
    np.testing.assert_array_equal(masks.flip("lateral").unpack(), stack[:, :, ::-1])
    assert masks.flip("frontal").flip("frontal") == masks


@pytest.mark.parametrize("view", [None, "Frontal", ""])
def test_flip_needs_a_known_view(masks, view):
    with pytest.raises(
        ValueError, match=f"view {view!r} cannot be flipped.*'frontal' and 'lateral'"
    ):
        masks.flip(view)


def test_flip_needs_both_sides():
    masks = pack(np.ones((1, 2, 2)), LabelSet(["rib_left_1"]))
    with pytest.raises(ValueError, match="counterpart of rib_left_1 is not among"):
        masks.flip("frontal")
    assert masks.flip("lateral") == masks


# -- known labels


def test_labels_that_are_not_known_lose_their_bits_and_stay_unknown(masks):
    known = np.ones(166, bool)
    known[LABELS.select("heart", "rib_left_3", "mediastinum_upper")] = False
    partly = masks.knowing(known)
    stack = masks.unpack()
    stack[~known] = False
    np.testing.assert_array_equal(partly.unpack(), stack)
    assert partly != PackedMasks.pack(stack, LABELS)
    assert "4 labels not known" in repr(partly)
    assert masks.knowing(np.ones(166, bool)) is masks
    for moved in (partly.resize(5, 4), partly.crop(1, 2, 3, 4), partly.flip("lateral")):
        np.testing.assert_array_equal(moved.known, known)
    few = partly.select([17, 0, 12])
    assert few.known.tolist() == [False, True, False]
    assert few.labels.names == ("heart", "lung_overall", "mediastinum_upper")


def test_a_frontal_flip_swaps_what_is_known_of_left_and_right(masks):
    known = np.ones(166, bool)
    known[LABELS.index("rib_left_3")] = False
    flipped = masks.knowing(known).flip("frontal")
    assert [LABELS.names[i] for i in np.flatnonzero(~flipped.known)] == ["rib_right_3"]
    assert flipped == masks.flip("frontal").knowing(flipped.known)
