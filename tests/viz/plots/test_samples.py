import pytest
from helpers.figures import drawn, legend_texts

from paxray_lib.data.dataset import PaxrayDataset
from paxray_lib.viz.plots import plot_comparison, plot_predictions, plot_samples


@pytest.fixture(scope="module")
def train(tiny):
    return PaxrayDataset(tiny, split="train")


def test_samples_are_titled_by_name(train):
    texts = drawn(plot_samples([train[0], train[1]], ["lungs", "heart"]))
    assert texts == ["case000frontal", "case000lateral"]


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["heart", "lung_left"], ["lung left", "heart"]),
        (["ribs"], []),
        (["mediastinum_upper"], ["mediastinum upper (12)", "mediastinum upper (16)"]),
    ],
)
def test_colors_of_labels_are_named_if_they_are_few(train, names, named):
    sample = train[0]
    assert legend_texts(plot_samples([sample], names)) == named
    assert legend_texts(plot_predictions([sample.image], [sample.masks], ["x"], names)) == named


def test_comparison_and_predictions_can_be_drawn(train):
    sample = train[0]
    figure = plot_comparison([sample], [sample.masks], ["heart"])
    assert drawn(figure) == ["case000frontal", "ground truth", "prediction", "difference"]
    assert legend_texts(figure) == ["true positive", "false positive", "false negative"]
    figure = plot_predictions([sample.image], [sample.masks], ["x.png"], ["heart"])
    assert drawn(figure) == ["x.png"]
