import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage

from paxray_lib.images.read import Image
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.viz import overlay
from paxray_lib.viz.overlay import (
    as_pixels,
    compare,
    render,
    visualize_certain_labels,
    visualize_comparison,
    visualize_label,
)

FEW = LabelSet(
    [
        "heart",
        "aorta",
        "lung_left",
        "lung_right",
        "spine",
        "ribs",
        "rib_1",
        "rib_2",
        "c1",
        "mine",
        "yours",
    ]
)


# -- large images are drawn some rows at a time


@pytest.mark.parametrize("mode", ["target", "both", "difference"])
@pytest.mark.parametrize("window", [(0, 255), (20, 200)])
def test_no_seams_in_large_images(mode, window):
    rng = np.random.default_rng(5)
    target, prediction = (
        PackedMasks.pack(rng.random((11, 70, 40)) < 0.3, FEW).resize(2100, 1024) for _ in "ab"
    )
    image = rng.integers(0, 255, (2100, 1024), np.uint8)
    style = {"mode": mode, "outline": 6, "dashed": True, "window": window}
    whole = compare(image, target, prediction, **style)
    for top in (1024 - 40, 2048 - 40):  # multiples of the period of dashes
        parts = (stack.crop(top, 0, 80, 1024) for stack in (target, prediction))
        drawn = compare(image[top : top + 80], *parts, **style)
        np.testing.assert_array_equal(drawn[8:-8], whole[top + 8 : top + 72])


# -- the rules again, one pixel at a time


def mean(colors):
    return [(sum(int(c[k]) for c in colors) + len(colors) // 2) // len(colors) for k in range(3)]


def erode(mask):
    height, width = mask.shape

    def at(y, x):
        return 0 <= y < height and 0 <= x < width and mask[y, x]

    plus = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    return np.array(
        [[all(at(y + v, x + u) for v, u in plus) for x in range(width)] for y in range(height)]
    )


def boundary(mask, width):
    core = mask
    for _ in range(width):
        core = erode(core)
    return mask & ~core


def shown(gray, window):
    low, high = window
    if gray <= low:
        return 0
    return 255 if gray >= high else ((int(gray) - low) * 255 + (high - low) // 2) // (high - low)


def blend(base, color, alpha):
    return [(b * (255 - alpha) + c * alpha + 127) // 255 for b, c in zip(base, color, strict=True)]


def oracle(image, fills, outlines, alpha, dashed, window):
    """`fills` and `outlines` are lists of (mask, colour)."""
    out = np.zeros((*image.shape[:2], 3), np.uint8)
    for y, x in np.ndindex(*image.shape[:2]):
        pixel = [shown(v, window) for v in np.broadcast_to(image[y, x], 3)]
        colors = [color for mask, color in fills if mask[y, x]]
        if colors:
            pixel = blend(pixel, mean(colors), alpha)
        colors = [color for mask, color in outlines if mask[y, x]]
        if colors and not (dashed and (x + 2 * y) // 4 % 2 == 1):
            pixel = mean(colors)
        out[y, x] = pixel
    return out


@st.composite
def scenes(draw):
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = rng.integers(
        0, 256, (height, width, 3) if draw(st.booleans()) else (height, width), np.uint8
    )
    stacks = rng.random((2, len(FEW), height, width)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    low = draw(st.integers(0, 254))
    style = {
        "alpha": draw(st.integers(0, 255)),
        "outline": draw(st.integers(0, 3)),
        "dashed": draw(st.booleans()),
        "window": draw(st.sampled_from([(0, 255), (low, draw(st.integers(low + 1, 255)))])),
    }
    return image, stacks, draw(st.lists(st.integers(0, len(FEW) - 1), max_size=len(FEW))), style


@given(scenes())
@settings(deadline=None, max_examples=60)
def test_render_follows_the_written_rules(scene):
    image, (stack, _), indices, style = scene
    chosen = [(stack[i], FEW.colors[i]) for i in set(indices)]
    outlines = (
        [(boundary(mask, style["outline"]), color) for mask, color in chosen]
        if style["outline"]
        else []
    )
    expected = oracle(image, chosen, outlines, style["alpha"], style["dashed"], style["window"])
    np.testing.assert_array_equal(
        render(image, PackedMasks.pack(stack, FEW), indices, **style), expected
    )


@given(scenes())
@settings(deadline=None, max_examples=60)
def test_compare_follows_the_written_rules(scene):
    image, stacks, indices, style = scene
    target, prediction = (PackedMasks.pack(stack, FEW) for stack in stacks)
    kinds = []
    for i in set(indices):
        truth, found = stacks[0][i], stacks[1][i]
        kinds += [(truth & found, overlay.TRUE_POSITIVE), (found & ~truth, overlay.FALSE_POSITIVE)]
        kinds += [(truth & ~found, overlay.FALSE_NEGATIVE)]
    expected = oracle(image, kinds, [], style["alpha"], False, style["window"])
    np.testing.assert_array_equal(compare(image, target, prediction, indices, **style), expected)

    fills = [(stacks[0][i], FEW.colors[i]) for i in set(indices)]
    outlines = [
        (boundary(stacks[1][i], max(1, style["outline"])), FEW.colors[i]) for i in set(indices)
    ]
    expected = oracle(image, fills, outlines, style["alpha"], style["dashed"], style["window"])
    np.testing.assert_array_equal(
        compare(image, target, prediction, indices, mode="both", **style), expected
    )

    for mode, masks in (("target", target), ("prediction", prediction)):
        same = render(image, masks, indices, **style)
        np.testing.assert_array_equal(
            compare(image, target, prediction, indices, mode=mode, **style), same
        )


def test_blending_is_exact_for_every_gray_colour_and_opacity():
    gray, color = np.arange(256, dtype=np.int64)[:, None], np.arange(256, dtype=np.int64)[None]
    labels = LabelSet(["a"])
    image = np.arange(256, dtype=np.uint8)[None]
    for alpha in (0, 1, 96, 127, 128, 254, 255):
        expected = (gray * (255 - alpha) + color * alpha + 127) // 255
        for value in range(0, 256, 15):
            labels.__dict__["colors"] = np.full((1, 3), value, np.uint8)
            masks = PackedMasks.pack(np.ones((1, 1, 256)), labels)
            drawn = render(image, masks, alpha=alpha, outline=0)
            np.testing.assert_array_equal(drawn[0, :, 0], expected[:, value])


def test_all_labels_at_one_pixel_average_without_overflow():
    masks = PackedMasks.pack(np.ones((len(LABELS), 1, 1)), LABELS)
    drawn = render(np.zeros((1, 1), np.uint8), masks, alpha=255, outline=0)
    assert drawn[0, 0].tolist() == mean(LABELS.colors)
    many = LabelSet([f"label {i}" for i in range(1023)])
    drawn = render(
        np.zeros((1, 1), np.uint8),
        PackedMasks.pack(np.ones((1023, 1, 1)), many),
        alpha=255,
        outline=0,
    )
    assert drawn[0, 0].tolist() == mean(many.colors)


def test_unmarked_pixels_keep_the_image():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    stack = np.zeros((len(LABELS), 8, 8), bool)
    stack[17, 2:6, 2:6] = True
    drawn = render(image, PackedMasks.pack(stack, LABELS))
    assert (drawn[~stack[17]] == image[~stack[17]][:, None]).all()
    assert drawn[2, 2].tolist() == LABELS.colors[17].tolist()  # the outline, in full colour
    assert drawn[3, 3].tolist() == blend(
        [int(image[3, 3])] * 3, LABELS.colors[17].tolist(), overlay.ALPHA
    )


# -- pictures


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    stack = np.zeros((len(LABELS), 40, 60), bool)
    stack[:] = rng.random(stack.shape) < 0.02
    stack[26] = False  # one label is absent
    return rng.integers(0, 256, (40, 60), np.uint8), PackedMasks.pack(stack, LABELS)


def same(picture, pixels):
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_names_may_be_one_a_list_any_sequence_a_group_or_a_pattern(scene):
    image, masks = scene
    heart = render(image, masks, [17])
    for names in ("heart", ["heart"], ("heart",), np.array(["heart"]), iter(["heart"]), "hear?"):
        same(visualize_certain_labels(names, image, masks), heart)
    same(
        visualize_certain_labels(["ribs", "mediastinum_upper"], image, masks),
        render(image, masks, [12, 16, *LABELS.select("ribs")]),
    )
    same(visualize_certain_labels([], image, masks), render(image, masks, []))


def test_images_and_masks_may_be_paths_or_arrays(scene, tmp_path):
    image, masks = scene
    expected = render(image, masks, [17])
    PilImage.fromarray(image).save(tmp_path / "a.png")
    floats = image.astype(np.float32) / 255
    images = [
        image,
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        PilImage.fromarray(image),
        floats,
        floats.astype(float),
    ]
    images += [np.repeat(image[..., None], 3, 2), Image(floats, None, None)]
    images += [
        PilImage.fromarray(image.astype(np.uint16) * 257),
        PilImage.fromarray(image.astype(np.uint16)),
    ]
    for form in images:
        same(visualize_certain_labels("heart", form, masks), expected)
    for suffix in (".npy", ".pxm", ".json"):
        masks.write(tmp_path / f"m{suffix}")
        same(visualize_certain_labels("heart", image, tmp_path / f"m{suffix}"), expected)
    same(visualize_certain_labels("heart", image, masks.unpack().astype(np.int64)), expected)
    same(
        visualize_certain_labels("heart", image, masks.unpack()[17:18], labels=LabelSet(["heart"])),
        expected,
    )


def test_visualize_label_draws_all_present_and_can_stand_beside_the_image(scene):
    image, masks = scene
    same(visualize_label(masks, image), render(image, masks, [i for i in range(166) if i != 26]))
    picture = np.asarray(visualize_label(masks, image, "heart", concat=True))
    assert picture.shape == (40, 124, 3)
    np.testing.assert_array_equal(picture[:, :60], np.repeat(image[..., None], 3, 2))
    np.testing.assert_array_equal(picture[:, 64:], render(image, masks, [17]))


def test_legend_shows_every_colour_and_leaves_the_image_free(scene):
    image, masks = scene
    names = ["heart", "aorta", "spine"]
    picture = np.asarray(visualize_certain_labels(names, image, masks, legend=True, alpha=50))
    np.testing.assert_array_equal(
        picture[:40, :60], render(image, masks, LABELS.select(names), alpha=50)
    )
    legend = {tuple(color) for color in picture[:, 64:].reshape(-1, 3).tolist()}
    assert {tuple(LABELS.colors[i].tolist()) for i in LABELS.select(names)} <= legend
    everything = np.asarray(visualize_label(masks, image, legend=True))
    legend = {tuple(color) for color in everything[:, 64:].reshape(-1, 3).tolist()}
    assert {tuple(LABELS.colors[i].tolist()) for i in range(166) if i != 26} <= legend


def test_comparison_has_three_panels(scene):
    image, masks = scene
    other = PackedMasks.pack(np.roll(masks.unpack(), 1, 1), LABELS)
    picture = np.asarray(visualize_comparison("heart", image, masks, other))
    title = picture.shape[0] - 40
    for k, mode in enumerate(("target", "prediction", "difference")):
        panel = picture[title:, k * 64 : k * 64 + 60]
        np.testing.assert_array_equal(panel, compare(image, masks, other, [17], mode=mode))
    assert visualize_comparison("heart", image, masks, other, legend=True).width > picture.shape[1]


# -- errors


def fails(match, call, *arguments, **options):
    with pytest.raises(ValueError, match=match):
        call(*arguments, **options)


def test_wrong_sizes_and_numbers_are_named(scene):
    image, masks = scene
    fails(r"40 rows and 50 columns, but the masks 40 and 60", render, image[:, :50], masks)
    fails("'heart'", visualize_certain_labels, "hart", image, masks)
    fails(
        r"\(3, 40, 60\).*166.*labels=",
        visualize_certain_labels,
        "heart",
        image,
        np.zeros((3, 40, 60), bool),
    )
    fails(r"166", visualize_certain_labels, "heart", image, np.zeros((40, 60), bool))
    fails("leave the range 0..165", render, image, masks, [166])
    fails("leave the range 0..165", render, image, masks, [-1])
    fails("alpha 256", render, image, masks, alpha=256)
    fails("alpha 0.5", render, image, masks, alpha=0.5)
    fails("outline -1", render, image, masks, outline=-1)
    fails("window", render, image, masks, window=(9, 9))
    fails("mode 'x': unknown.*target, prediction", compare, image, masks, masks, mode="x")
    fails(
        "different labels",
        compare,
        image,
        masks,
        PackedMasks.pack(np.zeros((1, 40, 60)), LabelSet(["heart"])),
    )
    fails("predicted masks 20 and 30", compare, image, masks, masks.resize(20, 30))
    many = LabelSet([f"label {i}" for i in range(1024)])
    fails("1024 labels", render, image, PackedMasks.pack(np.zeros((1024, 40, 60)), many))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 2), np.int64),
        np.full((2, 2), 1.5),
        np.full((2, 2), np.nan),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        PilImage.new("F", (2, 2)),
    ],
)
def test_images_of_unknown_range_or_shape_are_refused(image):
    fails("image", as_pixels, image)


def test_missing_files_are_named(scene, tmp_path):
    image, masks = scene
    for call in (
        lambda: visualize_label(masks, tmp_path / "no.png"),
        lambda: visualize_label(tmp_path / "no.npy", image),
    ):
        with pytest.raises(OSError, match=r"no\.p|no\.npy"):
            call()
