# ruff: noqa: F401 (what the modules have, for one import)
"""Figures for notebooks: each function takes tables, samples or masks and returns a Figure.

``samples``: images with their masks. ``data``: what a data set holds. ``scores``: a training
and an evaluation. ``measurements``: lines and their agreement. ``ct``: projections.
"""

from paxray_lib.viz.plots.ct import plot_projected_labels, plot_projections, plot_slices
from paxray_lib.viz.plots.data import (
    plot_by_label,
    plot_mean_masks,
    plot_overlaps,
    plot_positions,
    plot_tree_check,
    plot_unusual,
)
from paxray_lib.viz.plots.measurements import draw_measurements, plot_agreement
from paxray_lib.viz.plots.samples import plot_comparison, plot_predictions, plot_samples
from paxray_lib.viz.plots.scores import (
    plot_differences,
    plot_group_distribution,
    plot_groups,
    plot_reliability,
    plot_score_distribution,
    plot_training,
)
