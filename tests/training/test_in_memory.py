"""The resident set against the path of the workers, which the tests of `augment` hold to plain
loops.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.sampledata import write_tiny
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.augmentation import AugmentConfig, Params, apply, draw
from paxray_lib.data.dataset import EpochSampler, PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.masks.packed import PackedMasks
from paxray_lib.training.in_memory import ResidentSet, move_batch, read_resized, resident_bytes
from paxray_lib.utils import progress

PUBLISHED = AugmentConfig(image_size=32, crop_size=28)
EVERYTHING = AugmentConfig(32, 24, 0.6, 1.2, 0.5, 20, 0.2, 0.1, 0.2, 0.3, 0.05)
SIZE = 20
LABEL_SETS = (
    LABELS,
    LabelSet(["rib_left_1", "rib_right_1", *LABELS.names[115:135]]),
    LabelSet(["lung_right", "heart", "lung_left"]),
)


def worker_sample(dataset, preprocessing, config, seed, key):
    """One sample as the issue words it: read, resize, draw by (seed, epoch, position), apply."""
    epoch, position, index = key
    sample = dataset[index]
    pixels, masks = preprocessing.resize(sample.image), sample.masks.resize(*preprocessing.size)
    params = draw(np.random.default_rng([seed, epoch, position]), config, sample.view)
    pixels, masks = apply(params, pixels, masks)
    return pixels, masks.data, sample.name


@pytest.mark.parametrize("config", [PUBLISHED, EVERYTHING], ids=["published", "everything"])
@pytest.mark.parametrize("kind", ["published", "standard"])
def test_batches_are_those_of_the_workers(tiny, config, kind):
    dataset, preprocessing = PaxrayDataset(tiny), Preprocessing(kind, (32, 32))
    kept = ResidentSet(dataset, preprocessing, config, 5, "cpu")
    assert len(kept) == len(dataset)
    for epoch in range(3):
        keys = list(EpochSampler(len(dataset), 5, epoch))
        for batch in (keys[:3], keys[3:]):
            images, targets, names = kept.take(batch)
            assert (images.dtype, targets.dtype) == (torch.float32, torch.uint8)
            for k, key in enumerate(batch):
                pixels, bits, name = worker_sample(dataset, preprocessing, config, 5, key)
                np.testing.assert_array_equal(images[k], pixels)
                np.testing.assert_array_equal(targets[k], bits)
                assert names[k] == name


def test_other_processes_than_the_first_show_no_progress(tiny, monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "progress", lambda items, *_: shown.append(items) or items)
    for quiet in (False, True):
        ResidentSet(
            PaxrayDataset(tiny), Preprocessing("standard", (32, 32)), PUBLISHED, 0, "cpu", quiet
        )
    assert len(shown) == 1


def test_a_batch_may_be_written_to_without_harm(tiny):
    kept = ResidentSet(
        PaxrayDataset(tiny),
        Preprocessing("standard", (32, 32)),
        AugmentConfig(32, 32, 0.0),
        0,
        torch.device("cpu"),
    )
    images, targets, _ = kept.take([(0, 0, 1)])
    before = images.clone(), targets.clone()
    images.zero_()
    targets.zero_()
    again = kept.take([(0, 0, 1)])
    assert torch.equal(again[0], before[0])
    assert torch.equal(again[1], before[1])


@st.composite
def drawn(draw):
    """Parameters as a rigid or a free move, with any change of intensity, in any view."""
    height, width = draw(st.integers(14, 26)), draw(st.integers(14, 26))
    crop = 14
    params = Params(
        size=SIZE,
        height=height,
        width=width,
        top=draw(st.integers(0, height - crop)),
        left=draw(st.integers(0, width - crop)),
        crop=crop,
        flip=draw(st.sampled_from(["frontal", "lateral", None])),
        noise_seed=draw(st.integers(0, 2**63 - 1)),
    )
    if draw(st.booleans()):
        params = replace(params, degrees=draw(st.floats(-180, 180)), zoom=draw(st.floats(0.5, 2)))
    amounts = {
        "brightness": (-0.9, 0.9),
        "contrast": (0.1, 1.9),
        "gamma": (0.5, 2),
        "noise": (0, 0.9),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(amounts))))
    return replace(params, **{name: draw(st.floats(*amounts[name])) for name in sorted(chosen)})


@given(st.integers(0, 99), st.sampled_from(LABEL_SETS), st.lists(drawn(), min_size=1, max_size=4))
def test_the_batch_on_a_device_equals_apply_for_each_sample(seed, labels, params):
    rng = np.random.default_rng(seed)
    stacks = rng.random((3, len(labels), SIZE, SIZE)) < 0.3
    images = rng.random((3, SIZE, SIZE), dtype=np.float32)
    masks = [PackedMasks.pack(stack, labels) for stack in stacks]
    indices = rng.integers(0, 3, len(params)).tolist()
    stored = torch.from_numpy(images), torch.from_numpy(np.stack([one.data for one in masks]))
    moved, targets = move_batch(*stored, indices, params, labels)
    assert (moved.dtype, targets.dtype) == (torch.float32, torch.uint8)
    for k, (index, one) in enumerate(zip(indices, params, strict=True)):
        pixels, bits = apply(one, images[index], masks[index])
        np.testing.assert_array_equal(targets[k], bits.data)
        if one.is_rigid and not one.changes_intensity:
            np.testing.assert_array_equal(moved[k], pixels)
        np.testing.assert_allclose(moved[k], pixels, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(stored[0], images)  # the set itself stays as it is


def test_bytes_are_those_of_the_tensors(tiny):
    dataset, preprocessing = PaxrayDataset(tiny), Preprocessing("standard", (32, 32))
    assert resident_bytes(dataset, preprocessing) == 8 * 32 * 32 * 25


def test_samples_are_read_at_the_networks_size(tiny):
    dataset = PaxrayDataset(tiny)
    pixels, masks, name, view = read_resized(dataset, Preprocessing("standard", (16, 24)), 1)
    assert pixels.shape == masks.shape[1:] == (16, 24)
    assert (name, view) == ("case000lateral", "lateral")
    assert masks == dataset[1].masks.resize(16, 24)


def test_another_size_than_the_networks_is_refused(tiny):
    with pytest.raises(ValueError, match=r"image_size 32: must be .* \(32, 48\)"):
        ResidentSet(PaxrayDataset(tiny), Preprocessing("standard", (32, 48)), PUBLISHED, 0, "cpu")


def test_a_sample_without_target_and_a_damaged_file_are_named(tmp_path):
    from test_dataset import rewrite

    write_tiny(tmp_path)
    arguments = Preprocessing("standard", (32, 32)), PUBLISHED, 0, "cpu"
    path = tmp_path / "labels" / "case001lateral.pxm"
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(ValueError, match=r"case001lateral\.pxm: damaged"):
        ResidentSet(PaxrayDataset(tmp_path), *arguments)
    path.write_bytes(content)
    rewrite(tmp_path, lambda c: c["train"][2].pop("target"))
    with pytest.raises(ValueError, match=r"case001frontal.*no target"):
        ResidentSet(PaxrayDataset(tmp_path), *arguments)
