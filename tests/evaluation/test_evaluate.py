import json

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.sampledata import write_tiny
from helpers.threshold_model import Threshold
from helpers.tiny_models import tiny_model

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.evaluation.count import count_dataset
from paxray_lib.evaluation.evaluate import evaluate, evaluate_constant, published_table
from paxray_lib.evaluation.result import Evaluation
from paxray_lib.evaluation.tables import per_label_table, summarize
from paxray_lib.images.preprocessing import Preprocessing
from paxray_lib.labels.table import LABELS, LabelSet
from paxray_lib.metrics.counting import Counts, counts
from paxray_lib.metrics.surface import surface
from paxray_lib.models.decisions import pack_decisions


class Oracle(Threshold):
    """Recognizes the images that it was shown and answers with their masks at its own size."""

    name = "oracle"

    def __init__(self, dataset, size):
        super().__init__((size, size))
        self.labels = dataset.labels
        self.known = [
            (
                torch.as_tensor(self.preprocess(sample.image)),
                sample.masks.resize(size, size).unpack(),
            )
            for sample in dataset
        ]

    def coarse(self, images):
        answers = [
            min(self.known, key=lambda item: (item[0] - image).abs().sum())[1] for image in images
        ]
        return torch.from_numpy(np.stack(answers)).float() * 8 - 4 + self.weight


@pytest.fixture(scope="module")
def test_set(tiny):
    return PaxrayDataset(tiny, split="test")


def test_a_model_that_knows_the_masks_scores_one(tiny, test_set):
    result = evaluate(Oracle(test_set, 48), tiny)
    assert (
        result.summary["overall"]["iou_present"]
        == result.summary["overall"]["dice_published"]
        == 1.0
    )
    assert result.summary["overall"]["images"] == 4
    assert (result.per_label["iou_present"] == 1).all()


def test_images_are_compared_at_their_own_size(tiny, test_set):
    result = evaluate(Oracle(test_set, 24), tiny)
    for row, sample in enumerate(test_set):
        pred, true = sample.masks.resize(24, 24).resize(48, 48).unpack(), sample.masks.unpack()
        np.testing.assert_array_equal(result.counts.tp[row], (pred & true).sum((1, 2)))
        np.testing.assert_array_equal(result.counts.fp[row], (pred & ~true).sum((1, 2)))
        np.testing.assert_array_equal(result.counts.fn[row], (true & ~pred).sum((1, 2)))


def test_folded_batch_norm_changes_no_more_than_rounding(tiny, test_set):
    # "published": strays stay, of which one logit decides
    model = tiny_model(labels=LABELS, preprocessing=Preprocessing("published", (48, 48))).eval()
    found = count_dataset(model, test_set)
    with torch.inference_mode():
        inputs = torch.stack(
            [torch.as_tensor(model.preprocess(sample.image)) for sample in test_set]
        )
        logits = model(inputs)
    target = np.stack([sample.masks.data for sample in test_set])
    bits = np.stack([pack_decisions(one) for one in logits.numpy()])
    plain = counts(bits, target, labels=len(test_set.labels))
    near = (logits.abs() < 1e-4).sum((2, 3)).numpy()
    assert near.sum() < 2000  # of 1.5 million
    for name in ("tp", "fp", "fn"):
        assert (np.abs(getattr(found, name) - getattr(plain, name)) <= near).all()


def test_bfloat16_is_asked_for_by_name_and_written_down(tiny):
    model = tiny_model(labels=LABELS, preprocessing=Preprocessing("standard", (32, 32))).eval()
    single, half = (
        evaluate(model, tiny, precision=precision) for precision in ("float32", "bfloat16")
    )
    assert [result.summary["dtype"] for result in (single, half)] == ["float32", "bfloat16"]
    assert single.summary["synthetic"] is False
    sums = [result.counts.tp.sum() + result.counts.fp.sum() for result in (single, half)]
    assert sums[0] != sums[1]
    assert sums[1] == pytest.approx(sums[0], rel=0.05)
    with pytest.raises(ValueError, match=r"precision 'float16'.*bfloat16"):
        evaluate(model, tiny, precision="float16")


def test_an_output_that_is_not_finite_is_refused(test_set):
    model = Oracle(test_set, 48)
    model.weight.data.fill_(np.nan)
    with pytest.raises(ValueError, match=r"case005frontal.*not finite"):
        count_dataset(model, test_set)


def test_the_model_keeps_its_mode(tiny, test_set):
    model = Oracle(test_set, 48).train()
    evaluate(model, tiny)
    assert model.training


def test_files_can_be_read_again_and_agree(tiny, test_set, tmp_path):
    result = evaluate(Oracle(test_set, 24), tiny, out=tmp_path)
    again = Evaluation.read(tmp_path)
    assert again.summary == result.summary == json.loads((tmp_path / "summary.json").read_text())
    table = pd.read_csv(tmp_path / "per_label.csv")
    np.testing.assert_allclose(table["iou_present"], again.per_label["iou_present"], atol=1e-6)
    assert table["label"].tolist() == list(LABELS.names)
    assert again.images["view"].tolist() == ["frontal", "lateral"] * 2


def counts_of(tp, fp, fn):
    return Counts(*(np.array(values) for values in (tp, fp, fn)))


def test_conventions_by_hand():
    labels = LabelSet(["heart", "c1", "lung_left"])
    found = counts_of([[1, 0, 2], [3, 0, 0]], [[1, 0, 0], [0, 0, 0]], [[0, 0, 2], [0, 0, 0]])
    table = per_label_table(found, labels).set_index("label")
    assert table.loc["heart", "iou_present"] == pytest.approx((0.5 + 1) / 2)
    assert np.isnan(table.loc["c1", "iou_present"])
    assert table.loc["c1", "iou_published"] == 0
    assert table.loc["lung_left", "iou_present"] == pytest.approx(0.5)
    assert table.loc["lung_left", "iou_published"] == pytest.approx(0.25)
    assert table["images"].tolist() == [2, 0, 1]
    summary = summarize(found, labels, ["frontal", "lateral"], ["a", "a"])
    assert summary["overall"]["iou_present"] == pytest.approx((0.75 + 0.5) / 2)
    assert summary["overall"]["iou_published"] == pytest.approx((0.75 + 0 + 0.25) / 3)
    assert summary["groups"]["vertebrae"]["iou_present"] is None
    assert summary["views"]["lateral"]["iou_present"] == pytest.approx(1.0)


def test_scores_by_image(tiny, test_set):
    scores = evaluate(Oracle(test_set, 48), tiny).scores_by_image()
    assert scores["iou_present"].tolist() == [1.0] * 4
    assert scores["case"].nunique() == 2


def test_constant_guess_is_the_majority_of_the_training_masks(tiny, test_set):
    train = PaxrayDataset(tiny, split="train")
    result = evaluate_constant(train, test_set, size=48)
    frontal = np.mean([s.masks.unpack() for s in train if s.view == "frontal"], axis=0) > 0.5
    true = test_set[0].masks.unpack()
    np.testing.assert_array_equal(result.counts.tp[0], (frontal & true).sum((1, 2)))
    np.testing.assert_array_equal(result.counts.fp[0], (frontal & ~true).sum((1, 2)))


def test_no_training_images_make_no_constant_guess(tiny, test_set, tmp_path):
    content = json.loads((tiny / "paxray.json").read_text())
    (tmp_path / "paxray.json").write_text(json.dumps({**content, "train": []}))
    with pytest.raises(ValueError, match=r"paxray\.json: no image with masks in split 'train'"):
        evaluate_constant(PaxrayDataset(tmp_path, split="train"), test_set, size=48)


def test_a_split_without_targets_is_refused(tmp_path):
    datafile = write_tiny(tmp_path)
    content = json.loads(datafile.read_text())
    content["test"][0].pop("target")
    datafile.write_text(json.dumps(content))
    model = Oracle(PaxrayDataset(tmp_path, split="train"), 48)
    with pytest.raises(ValueError, match="without a target"):
        evaluate(model, tmp_path)


def test_published_figures_stand_beside_as_published(tiny, test_set):
    table = published_table(evaluate(Oracle(test_set, 48), tiny).summary)
    assert table["source"].tolist() == ["measured here"] + 3 * ["published"]
    assert table["mean IoU (%)"].tolist() == [100, 60.6, 57.07, 52.77]
    assert table["low"].tolist()[0] == 100
    assert table["high"][1:].isna().all()


def test_boundaries_and_reliability_are_measured_too(tiny, test_set):
    result = evaluate(Oracle(test_set, 24), tiny)
    for row, sample in enumerate(test_set):
        expected = surface(sample.masks.resize(24, 24).resize(48, 48), sample.masks)
        for name in ("within", "total", "hd95"):
            np.testing.assert_array_equal(
                getattr(result.surface, name)[row], getattr(expected, name)[0]
            )
    assert result.reliability.pixels.sum() == 4 * 166 * 24 * 24
    low, high = (1 / (1 + np.exp(4))), 1 / (1 + np.exp(-4))  # the oracle says nothing but these
    rightness = result.reliability.true[:, -1].sum() / result.reliability.pixels[:, -1].sum()
    assert rightness == 1
    assert result.reliability.true[:, 0].sum() == 0
    assert (
        result.summary["calibration_error"]
        == pytest.approx(low, rel=0.01)
        == pytest.approx(1 - high, rel=0.01)
    )
