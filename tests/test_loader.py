import numpy as np
import pytest
import torch
from sampledata import write_tiny

from paxray_lib.augment import AugmentConfig
from paxray_lib.dataset import PaxrayDataset
from paxray_lib.images import Preprocessing
from paxray_lib.loader import TrainingBatches, normalize


def make(root, workers=0, size=(32, 32), config=None, **options):
    dataset = PaxrayDataset(root, split="train")
    config = config or AugmentConfig(image_size=size[0], crop_size=24, flip_prob=0.5, noise=0.1)
    options = {"batch_size": 3, "seed": 1, "device": torch.device("cpu"), **options}
    return TrainingBatches(dataset, Preprocessing("standard", size), config, workers=workers, **options)


def collect(batches, epoch, start=0):
    return [(batch.images.numpy(), batch.targets.numpy(), batch.names) for batch in batches.epoch(epoch, start)]


def assert_same(one, other):
    assert [names for *_, names in one] == [names for *_, names in other]
    for (images, targets, _), (images2, targets2, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, images2)
        np.testing.assert_array_equal(targets, targets2)


def test_an_epoch_has_every_sample_once_packed(tiny):
    batches = make(tiny)
    items = collect(batches, 0)
    assert len(items) == len(batches) == 3
    names = [name for *_, names in items for name in names]
    assert sorted(names) == sorted(sample.name for sample in PaxrayDataset(tiny, split="train"))
    images, targets, _ = items[0]
    assert images.shape == (3, 24, 24)
    assert images.dtype == np.float32
    assert targets.shape == (3, 24, 24, 21)
    assert targets.dtype == np.uint8


def test_batches_depend_on_seed_epoch_and_position_alone(tiny):
    first = collect(make(tiny), 2)
    batches = make(tiny)
    collect(batches, 0)
    assert_same(collect(batches, 2), first)
    assert_same(collect(batches, 2, start=1), first[1:])
    assert_same(collect(make(tiny, workers=2), 2), first)
    assert [names for *_, names in collect(batches, 3)] != [names for *_, names in first]


def test_workers_go_on_with_another_epoch_and_start(tiny):
    plain, workers = make(tiny), make(tiny, workers=1)
    for epoch, start in ((0, 2), (1, 0), (4, 1)):
        assert_same(collect(workers, epoch, start), collect(plain, epoch, start))


def test_without_augmentation_a_batch_is_the_resized_sample(tiny):
    config = AugmentConfig(image_size=32, crop_size=32, resize_prob=0.0)
    batch = next(make(tiny, config=config).epoch(0))
    samples = {sample.name: sample for sample in PaxrayDataset(tiny, split="train")}
    for pixels, bits, name in zip(batch.images, batch.targets, batch.names, strict=True):
        np.testing.assert_array_equal(bits, samples[name].masks.resize(32, 32).data)
        np.testing.assert_array_equal(pixels, Preprocessing("standard", (32, 32)).resize(samples[name].image))


@pytest.mark.parametrize("kind", ["standard", "published"])
def test_normalize_is_the_models_preprocessing(tiny, kind):
    preprocessing = Preprocessing(kind, (48, 48))
    image = PaxrayDataset(tiny, split="train")[0].image
    expected = preprocessing(image)
    found = normalize(torch.from_numpy(preprocessing.resize(image))[None], preprocessing)[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-4)


def test_a_sample_without_target_is_named(tmp_path):
    from test_dataset import rewrite

    write_tiny(tmp_path)
    rewrite(tmp_path, lambda content: [item.pop("target") for item in content["train"]])
    with pytest.raises(ValueError, match=r"case00.*no target"):
        next(make(tmp_path).epoch(0))
