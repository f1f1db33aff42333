import pandas as pd
from helpers.figures import drawn

from paxray_lib.viz.plots import plot_training


def test_training_curves_show_only_validated_epochs():
    metrics = pd.DataFrame(
        {
            "epoch": [1, 2, 3],
            "train_loss": [1.0, 0.5, 0.4],
            "val_iou_present": [None, 0.4, None],
            "val_dice_present": [None, 0.5, None],
            "val_iou_published": [None, 0.3, None],
        }
    )
    figure = plot_training(metrics)
    assert "training loss (cross-entropy + Dice)" in drawn(figure)
    assert [line.get_xdata().tolist() for line in figure.axes[1].lines] == [[2]] * 3
