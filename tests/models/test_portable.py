"""Model files to give away: what is written is read, smaller; the one of the package."""

import numpy as np
import pytest
import torch
from helpers.portable_files import ABOUT, portable_bytes
from helpers.tiny_models import NAMES, random_images, tiny_model

from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS
from paxray_lib.models import load_model, named, optimize_for_inference, predict_image
from paxray_lib.models.named import find_weights
from paxray_lib.models.portable import read_portable, save_portable
from paxray_lib.phantoms.sample_dataset import generate_sample


@pytest.fixture(scope="module")
def model():
    model = tiny_model(preprocessing=Preprocessing("standard", (64, 96)))
    model(random_images(4, 3, 64, 96))  # statistics of BatchNorm that are no round numbers
    return model.eval()


def test_what_is_written_is_read(model, tmp_path):
    path = tmp_path / "a.safetensors"
    save_portable(path, model, threshold=0.4, **ABOUT)
    loaded = load_model(path)
    assert not loaded.training
    assert (loaded.labels, loaded.preprocessing) == (NAMES, model.preprocessing)
    assert (loaded.name, loaded.config) == (model.name, model.config)
    about = read_portable(path)
    assert {key: about[key] for key in ABOUT} == ABOUT
    assert about["threshold"] == 0.4
    for key, value in loaded.network.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        own = model.network.state_dict()[key]
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, own, rtol=1e-3 * (own.ndim > 1), atol=1e-7)
    with torch.inference_mode():
        images = random_images(2, 3, 64, 96)
        torch.testing.assert_close(loaded(images), model(images), rtol=0.02, atol=0.02)


def test_it_has_half_the_bytes_and_the_same_each_time(model, tmp_path):
    numbers = sum(value.numel() for value in model.network.state_dict().values())
    for name in "ab":
        save_portable(tmp_path / f"{name}.safetensors", model, **ABOUT)
    one, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert one == other
    assert len(one) < 2.2 * numbers + 30_000


def test_what_cannot_be_written_is_refused_and_no_file_left(model, tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(ValueError, match="optimized for inference"):
        save_portable(path, optimize_for_inference(model), **ABOUT)
    with pytest.raises(ValueError, match="ends in"):
        save_portable(tmp_path / "a.ckpt", model, **ABOUT)
    with pytest.raises(ValueError, match=r"a\.safetensors: a header of \d+ bytes, more than"):
        save_portable(path, model, **ABOUT | {"scores": {"films": "x" * 2**20}})
    large = tiny_model()
    next(large.network.parameters()).data[0, 0, 0, 0] = 1e5
    with pytest.raises(ValueError, match=r"values that float16 cannot hold, up to 100000"):
        save_portable(path, large, **ABOUT)
    assert not list(tmp_path.iterdir())


def test_other_files_are_left_to_others(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(portable_bytes())
    assert read_portable(tmp_path / "a.ckpt") is None
    assert read_portable(tmp_path / "missing.safetensors") is None


@pytest.mark.parametrize("name", ["open", "cxas"])
def test_a_model_that_is_not_there_is_an_error_that_says_how_it_comes(name, tmp_path, monkeypatch):
    files = {key: (tmp_path / f"{key}.x", remedy) for key, (_, remedy) in named.MODELS.items()}
    monkeypatch.setattr(named, "MODELS", files)
    remedies = {"open": "make open-model.*--weights", "cxas": "paxray fetch weights --which cxas"}
    with pytest.raises(
        FileNotFoundError, match=rf"{name}: there is no {name}\.x .*{remedies[name]}"
    ):
        load_model(name)


@pytest.fixture(scope="module")
def shipped():
    try:
        return find_weights("open")
    except FileNotFoundError:
        pytest.skip("the open model is not in this clone yet")


def test_the_shipped_file_is_small_and_says_what_it_is(shipped):
    assert shipped.stat().st_size <= 20 * 10**6
    about = read_portable(shipped)
    assert tuple(about["labels"]) == LABELS.names
    assert about["licence"] == "MIT"
    assert {source["name"] for source in about["sources"]} >= {"phantoms"}
    assert all({"name", "what", "licence"} <= source.keys() for source in about["sources"])
    assert all(stage["settings"] for stage in about["recipe"])
    assert about["scores"]
    notices = {path.name for path in shipped.parent.iterdir()}
    assert notices >= {"LICENSE", "NOTICES.md", "APACHE-2.0.txt"}


def test_the_shipped_model_segments_a_phantom(shipped, tmp_path):
    from paxray_lib.data.dataset import PaxrayDataset

    generate_sample(tmp_path, cases=4, size=256)
    sample = PaxrayDataset(tmp_path, split="test")[0]
    masks = predict_image(load_model("open"), sample.image)
    for name in ("lung_overall", "heart", "spine"):
        found, true = masks.union(name), sample.masks.union(name)
        assert 2 * (found & true).sum() > 0.6 * (found.sum() + true.sum()), name
    assert np.count_nonzero(masks.counts()) > 60
