# ruff: noqa: F401 (what the modules have, for one import)
"""Figures for notebooks: each function takes tables, samples or masks and returns a Figure.

``images``: images with masks or measured lines, and a CT. ``data``: what a data set holds.
``scores``: a training, an evaluation and the agreement of measurements.
"""

from paxray_lib.viz.plots.data import (
    plot_by_label,
    plot_mean_masks,
    plot_overlaps,
    plot_positions,
    plot_tree_check,
    plot_unusual,
)
from paxray_lib.viz.plots.images import (
    draw_measurements,
    plot_comparison,
    plot_predictions,
    plot_projected_labels,
    plot_projections,
    plot_samples,
    plot_slices,
)
from paxray_lib.viz.plots.scores import (
    plot_agreement,
    plot_differences,
    plot_group_distribution,
    plot_groups,
    plot_reliability,
    plot_score_distribution,
    plot_training,
)
