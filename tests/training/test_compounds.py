"""Logits of compounds against probabilities in float64, and trainings with a map."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.sampledata import write_tiny
from hypothesis import given
from hypothesis import strategies as st

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.evaluate import evaluate
from paxray_lib.labels.expressions import parse_expression
from paxray_lib.labels.table import LabelSet
from paxray_lib.metrics.scores import iou, mean_score
from paxray_lib.models.checkpoints import load_model
from paxray_lib.training.compounds import compound_logits, with_compounds
from paxray_lib.training.config import TrainConfig
from paxray_lib.training.loop import NetworkWithLoss, fit
from paxray_lib.training.losses import dice_bce, enlarge
from paxray_lib.training.setup import set_up

NAMES = LabelSet([*"abcdef"])
TEXTS = st.builds(
    lambda first, rest: first + "".join(f" {sign} {name}" for sign, name in rest),
    st.sampled_from(NAMES.names),
    st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from(NAMES.names)), max_size=4),
)


def probability(p, expression):
    """The probability of an expression of independent labels, step by step."""
    value = 0.0
    for adds, indices in expression:
        for i in indices:
            value = 1 - (1 - value) * (1 - p[:, i]) if adds else value * (1 - p[:, i])
    return value


@given(TEXTS, st.integers(0, 999))
def test_compounds_have_the_probability_of_independent_labels(text, seed):
    expression = parse_expression(text, NAMES)
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn((2, 6, 3, 5), generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    found = compound_logits(logits, expression)
    wanted = probability(logits.sigmoid(), expression)
    assert torch.allclose(found.sigmoid(), wanted, rtol=1e-9, atol=1e-14)
    gradients = [torch.autograd.grad(x.sum(), logits)[0] for x in (found.sigmoid(), wanted)]
    assert torch.allclose(*gradients, rtol=1e-6, atol=1e-12)
    single = compound_logits(logits.float(), expression)
    assert torch.allclose(single.double(), found, rtol=1e-4, atol=1e-4)


@given(TEXTS, st.sampled_from([40.0, 100.0, 1e4]), st.integers(0, 99))
def test_certain_labels_give_finite_logits_and_gradients(text, size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = size * torch.randn((1, 6, 4, 4), generator=generator).sign()
    logits = logits.bfloat16().requires_grad_()
    expression = parse_expression(text, NAMES)
    whole = with_compounds(logits, [expression])
    assert whole.dtype == torch.bfloat16
    assert whole.shape == (1, 7, 4, 4)
    (gradient,) = torch.autograd.grad(whole[:, -1].float().abs().sum(), logits)
    assert whole.isfinite().all()
    assert gradient.isfinite().all()
    sure = probability((logits.detach().double() > 0).double(), expression)
    assert torch.equal(whole[0, -1] > 0, sure[0] > 0.5)


PHANTOMS = LabelSet(["heart", "lung_left", "lung_right", "diaphragm"])
FILMS = LabelSet(["Heart", "right_field", "left_field"])
LINES = {
    "Heart": "heart",
    "left_field": "lung_left - diaphragm - heart",
    "right_field": "lung_right - diaphragm - heart",
}


@pytest.fixture
def settings(tmp_path):
    for seed, (name, labels) in enumerate((("phantoms", PHANTOMS), ("films", FILMS))):
        write_tiny(tmp_path / name, labels=labels, seed=seed)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(LINES))
    films = {"root": str(tmp_path / "films"), "map": str(tmp_path / "map.yaml")}
    return {
        "data": [films, {"root": str(tmp_path / "phantoms")}],
        "run_dir": str(tmp_path / "run"),
        "architecture": "unet",
        "encoder": "resnet18",
        "image_size": 64,
        "crop_size": 64,
        "resize_prob": 0.0,
        "batch_size": 16,
        "epochs": 1,
        "device": "cpu",
        "precision": "float32",
    }


def test_a_mapped_set_teaches_its_expressions(settings, tmp_path):
    run = set_up(TrainConfig(**settings, loss="present"), resume=False)
    assert run.model.labels == PHANTOMS
    ((batch,),) = run.batches.epoch(0)
    network = NetworkWithLoss(run.model, "present", run.compounds).double().train()
    images = batch.images.double()
    coarse, losses = run.model.coarse(network.normalize(images)), []
    for i, (*_, index) in enumerate(run.batches.plan.keys(0, 0, 1)):
        own = coarse[i : i + 1]
        name = ("films", "phantoms")[index // 8]
        masks = PaxrayDataset(tmp_path / name)[index % 8].masks.resize(64, 64)
        if name == "films":
            order = [LINES[label] for label in FILMS]
            each = [compound_logits(own, parse_expression(t, PHANTOMS)) for t in order]
            own = torch.stack(each, 1)
        own = enlarge(own, (64, 64))
        losses.append(dice_bce(own, torch.from_numpy(masks.unpack())[None], "present"))
    whole = network(images, batch.targets, batch.known)
    assert torch.allclose(whole, torch.stack(losses).mean(), rtol=1e-9)


def test_a_mapped_set_is_flipped_and_scored_by_its_map(settings, tmp_path):
    folder = fit(TrainConfig(**settings, flip_prob=0.5, best="iou_present"))
    (row,) = pd.read_csv(folder / "metrics.csv").to_dict("records")
    model = load_model(folder / "checkpoints/best.ckpt")
    films = evaluate(model, tmp_path / "films", split="val", map=tmp_path / "map.yaml")
    assert films.labels.names == tuple(LINES)
    score = mean_score(iou(films.counts), "present")
    assert row["val_iou_present_1"] == pytest.approx(score, abs=1e-6)
    assert np.isfinite(row["val_iou_present_2"])


def test_one_set_must_be_without_a_map(settings):
    with pytest.raises(ValueError, match="one must be without"):
        set_up(TrainConfig(**{**settings, "data": settings["data"][:1]}), resume=False)


def test_a_quarter_of_the_pixels_is_drawn_for_the_loss(settings):
    run = set_up(TrainConfig(**settings, loss="present"), resume=False)
    ((batch,),) = run.batches.epoch(0)
    network = NetworkWithLoss(run.model, "present", run.compounds, "quarter").eval()
    found, parts = set(), []
    for seed in range(12):
        torch.manual_seed(seed)
        found.add(round(network(batch.images, batch.targets, batch.known).item(), 6))
    whole = NetworkWithLoss(run.model, "present", run.compounds).eval()
    for row in range(2):
        for column in range(2):
            targets = batch.targets[:, row::2, column::2].contiguous()
            parts.append(round(whole(batch.images, targets, batch.known).item(), 6))
    assert found == set(parts)
    assert len(found) == 4


def test_a_map_that_changed_is_not_resumed_with(settings, tmp_path):
    fit(TrainConfig(**settings))
    # no structure is another compound than before
    lines = {**LINES, "Heart": "lung_left"}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(lines))
    with pytest.raises(ValueError, match="labels of data set 1"):
        fit(TrainConfig(**settings), resume=True)
