import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from helpers.datafiles import rewrite
from helpers.sampledata import write_tiny
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.augmentation import AugmentConfig, apply, draw
from paxray_lib.data.dataset import EpochSampler, PaxrayDataset
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.training import batches as module
from paxray_lib.training.batches import StepPlan, TrainingBatches, TrainingSet, fits

CONFIG = AugmentConfig(image_size=32, crop_size=24, flip_prob=0.5, noise=0.1)
EVERYTHING = AugmentConfig(32, 24, 0.6, 1.2, 0.5, 20, 0.2, 0.1, 0.2, 0.3, 0.05)
MADE = []


def make(root, workers=0, config=CONFIG, in_memory=None, **options):
    dataset, preprocessing = PaxrayDataset(root, split="train"), Preprocessing("standard", (32, 32))
    samples = TrainingSet(dataset, preprocessing, config, seed=1)
    plan = StepPlan(len(dataset), seed=1, **{"batch_size": 3, **options})
    batches = TrainingBatches(samples, plan, torch.device("cpu"), workers, in_memory)
    MADE.append(batches)
    return batches


@pytest.fixture(autouse=True)
def closed():
    yield
    while MADE:
        MADE.pop().close()


def collect(batches, epoch, start=0):
    steps = batches.epoch(epoch, start)
    return [
        (batch.images.numpy(), batch.targets.numpy(), batch.names)
        for step in steps
        for batch in step
    ]


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
    first = collect(make(tiny, in_memory=False), 2)
    batches = make(tiny, in_memory=False)
    collect(batches, 0)
    assert_same(collect(batches, 2), first)
    assert_same(collect(batches, 2, start=1), first[1:])
    assert_same(collect(make(tiny, workers=2), 2), first)
    assert [names for *_, names in collect(batches, 3)] != [names for *_, names in first]


def test_workers_go_on_with_another_epoch_and_start(tiny):
    # read without threads: a process forked while they end may wait for OpenCV for ever
    alone, workers = make(tiny, in_memory=False), make(tiny, workers=1)
    for epoch, start in ((0, 2), (1, 0), (4, 1)):
        assert_same(collect(workers, epoch, start), collect(alone, epoch, start))


def test_closed_batches_leave_no_process_even_if_one_was_killed(tiny):
    batches = make(tiny, workers=2)
    steps = batches.epoch(0)
    next(steps)
    of_torch = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # which comes late on a busy machine
    worker = multiprocessing.active_children()[0]
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    signal.signal(signal.SIGCHLD, of_torch)
    batches.close()
    assert not multiprocessing.active_children()
    signal.raise_signal(signal.SIGCHLD)  # nobody is told
    assert_same(collect(batches, 1), collect(make(tiny, in_memory=False), 1))
    batches.close()


def test_without_augmentation_a_batch_is_the_resized_sample(tiny):
    config = AugmentConfig(image_size=32, crop_size=32, resize_prob=0.0)
    (batch,) = next(make(tiny, config=config).epoch(0))
    samples = {sample.name: sample for sample in PaxrayDataset(tiny, split="train")}
    for pixels, bits, name in zip(batch.images, batch.targets, batch.names, strict=True):
        np.testing.assert_array_equal(bits, samples[name].masks.resize(32, 32).data)
        np.testing.assert_array_equal(
            pixels, Preprocessing("standard", (32, 32)).resize(samples[name].image)
        )


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING], ids=["some", "everything"])
def test_batches_in_memory_are_those_from_disk(tiny, config):
    for epoch in range(3):
        from_disk = collect(make(tiny, config=config, in_memory=False), epoch)
        assert_same(collect(make(tiny, config=config, in_memory=True), epoch), from_disk)


@pytest.mark.parametrize("config", [CONFIG, EVERYTHING], ids=["some", "everything"])
def test_a_sample_is_read_resized_and_augmented(tiny, config):
    """As the issue words it: drawn by (seed, epoch, position), then applied."""
    dataset, preprocessing = PaxrayDataset(tiny, split="train"), Preprocessing("standard", (32, 32))
    samples = TrainingSet(dataset, preprocessing, config, seed=5)
    for key in list(EpochSampler(len(dataset), 5, epoch=2))[:4]:
        pixels, bits, known, name = samples[key]
        sample = dataset[key[2]]
        params = draw(np.random.default_rng([5, *key[:2]]), config, sample.view)
        resized = preprocessing.resize(sample.image), sample.masks.resize(32, 32)
        expected, masks = apply(params, *resized)
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(bits, masks.data)
        np.testing.assert_array_equal(known, masks.known)
        assert name == sample.name


@pytest.mark.parametrize("in_memory", [False, True])
def test_what_is_known_goes_with_the_sample_and_its_flips(tmp_path, in_memory):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda c: c["train"][0].update(known=["rib_left_*", "heart"]))
    config = AugmentConfig(image_size=32, crop_size=32, flip_prob=0.5)
    batches, found = make(tmp_path, config=config, in_memory=in_memory), set()
    for epoch in range(6):
        for (batch,) in batches.epoch(epoch):
            for known, name in zip(batch.known, batch.names, strict=True):
                if name == "case000frontal":
                    found.add(tuple(np.flatnonzero(known).tolist()))
                else:
                    assert known.all()
    sides = (LABELS.select("rib_left_*", "heart"), LABELS.select("rib_right_*", "heart"))
    assert found == {tuple(sorted(side)) for side in sides}


def test_samples_are_read_at_the_networks_size(tiny):
    dataset = PaxrayDataset(tiny)
    samples = TrainingSet(dataset, Preprocessing("standard", (16, 24)), CONFIG, seed=0)
    pixels, bits, known, name, view = samples.read(1)
    assert known.all()
    assert pixels.shape == bits.shape[:2] == (16, 24)
    assert (name, view) == ("case000lateral", "lateral")
    np.testing.assert_array_equal(bits, dataset[1].masks.resize(16, 24).data)
    assert samples.bytes == 8 * 16 * 24 * 25


def test_a_batch_may_be_written_to_without_harm(tiny):
    config = AugmentConfig(image_size=32, crop_size=32, resize_prob=0.0)
    batches = make(tiny, config=config, in_memory=True)
    first = collect(batches, 0)
    for (batch,) in batches.epoch(0):
        batch.images.zero_()
        batch.targets.zero_()
    assert_same(collect(batches, 0), first)


def test_a_sample_without_target_is_named(tmp_path):
    write_tiny(tmp_path)
    rewrite(tmp_path, lambda content: [item.pop("target") for item in content["train"]])
    with pytest.raises(ValueError, match=r"case00.*no target"):
        next(make(tmp_path).epoch(0))


def epoch_of(world, **settings):
    """Weights, positions and batch sizes of one epoch: for each step a list over processes of lists
    of batches.
    """
    plans = [StepPlan(rank=rank, world=world, seed=3, **settings) for rank in range(world)]
    return list(zip(*(plan.epoch(5) for plan in plans), strict=True))


@given(
    length=st.integers(1, 40),
    batch_size=st.integers(1, 5),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 4),
)
def test_the_plan_shares_every_sample_once_with_equal_weight(length, batch_size, accumulate, world):
    epoch = epoch_of(world, length=length, batch_size=batch_size, accumulate=accumulate)
    plan = StepPlan(length, 3, batch_size, accumulate, 0, world)
    assert len(epoch) == plan.steps
    first = 0
    for number, processes in enumerate(epoch):
        assert len({len(batches) for batches in processes}) == 1, (
            "processes wait for each other at every batch"
        )
        assert len(processes[0]) <= accumulate
        left = length - first
        # a last image alone, where batches have more, is in the step before
        size = left if left == plan.images + (batch_size > 1) else min(plan.images, left)
        assert (plan.images_of(number), plan.images_of(number + 1)) == (first, first + size)
        taken = []
        # in the epoch's order: the first batch of each process, then the second of each
        for keys, weight in (batch for row in zip(*processes, strict=True) for batch in row):
            assert len(keys) == 1 if 1 in (length, batch_size) else 2 <= len(keys) <= batch_size + 1
            # of one image in the mean over processes of sums of weighted means
            share = weight / len(keys) / world
            assert weight == 0 or share == pytest.approx(1 / size)
            taken += keys if weight else []
        assert [position for _, position, _ in taken] == list(range(first, first + size))
        assert taken == plan.keys(5, number, number + 1)
        first += size
    assert first == length


@pytest.mark.parametrize(
    ("length", "sizes"), [(598, [3] * 198 + [4]), (599, [3] * 199 + [2]), (4, [4]), (1, [1])]
)
def test_no_batch_has_one_image(length, sizes):
    plan = StepPlan(length, 0, 3)
    assert [len(keys) for step in plan.epoch(0) for keys, _ in step] == sizes
    assert list(plan.epoch(0, plan.steps)) == []


@pytest.mark.parametrize(("workers", "in_memory"), [(0, True), (0, False), (1, False)])
def test_a_damaged_file_is_named_in_one_line(tmp_path, workers, in_memory):
    write_tiny(tmp_path)
    (tmp_path / "images" / "case000frontal.png").write_bytes(b"no image")
    with pytest.raises((OSError, ValueError), match=r"^[^\n]*case000frontal[^\n]*$"):
        collect(make(tmp_path, workers, in_memory=in_memory), 0)


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", [True, False])
def test_processes_and_batch_sizes_do_not_change_what_a_sample_is(tiny, in_memory):
    def samples(**options):
        found = {}
        for images, targets, names in collect(make(tiny, in_memory=in_memory, **options), 1):
            found |= {
                name: (image, bits)
                for image, bits, name in zip(images, targets, names, strict=True)
            }
        return found

    expected = samples()
    for rank in (0, 1):
        for name, (image, bits) in samples(batch_size=1, accumulate=3, rank=rank, world=2).items():
            np.testing.assert_array_equal(image, expected[name][0])
            np.testing.assert_array_equal(bits, expected[name][1])


def test_names_of_a_step_are_those_of_all_processes(tiny):
    parts = [make(tiny, batch_size=1, accumulate=2, rank=rank, world=2) for rank in (0, 1)]
    steps = [[batch.names[0] for batch in list(part.epoch(0))[1]] for part in parts]
    assert sorted(parts[0].names(0, 1)) == sorted(steps[0] + steps[1])


def test_what_fits_stays_on_the_device(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(module, "free_bytes", lambda: 4003)
    assert [fits(1000, workers, cpu) for workers in (0, 1)] == [True, False]
    assert not fits(1001, 0, cpu)
    assert [fits(needed, 4, gpu) for needed in (500, 501)] == [True, False]
    for name, value in {"STEP_NUM_TASKS": 2, "PROCID": 0, "LOCALID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    assert [fits(needed, 0, cpu) for needed in (500, 501)] == [True, False]


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_batches_are_of_one_data_set_each_in_every_process(world, accumulate):
    parts = ((24, 1.0), (16, 1.0))  # 20 draws of each: five whole batches
    plans = [StepPlan(40, 3, 4, accumulate, rank, world, parts) for rank in range(world)]
    for plan in plans:
        for batches in plan.epoch(1):
            for keys, weight in batches:
                assert len({index < 24 for *_, index in keys}) == 1 or not weight
