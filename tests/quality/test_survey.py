import json

import numpy as np
import pytest
from helpers.sampledata import write_tiny
from helpers.xrays import write_xray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from paxray_lib.data.datafile import read_datafile
from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.result import image_table
from paxray_lib.labels.table import LABELS, LabelSet, tree_pairs
from paxray_lib.masks.moments import moments
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.quality.survey import take_survey


def slow_moments(stack, pixels):
    areas = stack.sum((1, 2))
    height, width = pixels.shape
    places = [ndimage.center_of_mass(mask) if mask.any() else (np.nan, np.nan) for mask in stack]
    rows, columns = np.array(places).T
    bright = [pixels[mask].mean() if mask.any() else np.nan for mask in stack]
    shared = np.array([[(a & b).sum() for b in stack] for a in stack])
    return areas, (rows + 0.5) / height, (columns + 0.5) / width, bright, shared


@given(
    stack=st.tuples(st.sampled_from([1, 3, 9, 70]), st.integers(1, 7), st.integers(1, 7)).flatmap(
        lambda shape: arrays(bool, shape)
    ),
    seed=st.integers(0, 99),
)
def test_moments_agree_with_loops_over_masks(stack, seed):
    pixels = np.random.default_rng(seed).random(stack.shape[1:])
    found = moments(PackedMasks.pack(stack, LabelSet([f"l{i}" for i in range(len(stack))])), pixels)
    for name, expected in zip(
        ("areas", "rows", "columns", "brightness", "shared"),
        slow_moments(stack, pixels),
        strict=True,
    ):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, err_msg=name)
    assert found.areas.dtype == found.shared.dtype == np.int64


def test_moments_without_an_image():
    found = moments(PackedMasks.pack(np.ones((1, 2, 3), bool), LabelSet(["a"])))
    assert np.isnan(found.brightness).all()
    assert found.rows.tolist() == found.columns.tolist() == [0.5]


@pytest.fixture(scope="module")
def survey(tiny):
    return take_survey(read_datafile(tiny))


def test_a_survey_has_the_images_in_the_order_of_the_file(tiny, survey):
    data = read_datafile(tiny)
    entries = [(split, entry) for split, items in data.splits.items() for entry in items]
    assert survey.images["image"].tolist() == [entry.image for _, entry in entries]
    assert survey.images["split"].tolist() == [split for split, _ in entries]
    stacks = np.stack([PackedMasks.read(tiny / entry.target).unpack() for _, entry in entries])
    np.testing.assert_array_equal(survey.areas, stacks.sum((2, 3)))
    for k, (child, parent) in enumerate(tree_pairs(LABELS)):
        assert np.array_equal(
            survey.outside[:, k], (stacks[:, child] & ~stacks[:, parent]).sum((1, 2))
        )
    frontal = stacks[survey.of_view("frontal")]
    assert survey.shared["frontal"][3, 9] == (frontal[:, 3] & frontal[:, 9]).sum()
    assert not survey.shared["unknown"].any()
    assert survey.findings == []


def test_the_view_of_an_image_that_its_header_alone_says(tmp_path):
    write_tiny(tmp_path)
    content = json.loads((tmp_path / "paxray.json").read_text())
    for number, tags in enumerate(({"ViewPosition": "PA"}, {"ViewPosition": "LL"}, {})):
        write_xray(tmp_path / f"images/{number}.dcm", (48, 48), **tags)
        content["test"][number]["image"] = f"images/{number}.dcm"
    (tmp_path / "paxray.json").write_text(json.dumps(content))
    test, found = PaxrayDataset(tmp_path, split="test"), take_survey(read_datafile(tmp_path))
    views = ["frontal", "lateral", None, "lateral"]
    assert [entry.view for entry in test.entries] == [None, None, None, "lateral"]
    assert [test.datafile.view(entry) for entry in test.entries] == views
    assert [sample.view for sample in test] == views
    images = found.images[found.images["split"] == "test"]
    assert images["view"].fillna("unknown").tolist() == ["frontal", "lateral", "unknown", "lateral"]
    assert [(f.where, f.message.partition(":")[0]) for f in found.findings] == [
        ("images/2.dcm", "unknown view")
    ]
    assert image_table(test)["view"].tolist() == ["frontal", "lateral", "unknown", "lateral"]


def test_fingerprints_are_those_of_the_pixels(survey):
    assert survey.images["image_hash"].is_unique
    assert survey.images["mask_hash"].is_unique
