"""One function per figure, over result objects; none loads data. A figure without data is None, not drawn empty."""

from tdscale.report.figures.adaptive import regret_figure, surface_figure
from tdscale.report.figures.budget import budget_figure, frontier_figure
from tdscale.report.figures.comparison import comparison_figure
from tdscale.report.figures.curves import curves_figure
from tdscale.report.figures.data import compute_by_task_figure, compute_figure, data_by_task_figure, data_figure
from tdscale.report.figures.hyperparameters import best_pairs_figure, hyperparameter_figure, power_law_figure
from tdscale.report.figures.losses import size_loss_figure
from tdscale.report.figures.selection import isotonic_figure, selection_figure
from tdscale.report.figures.sizes import (
    size_compute_figure,
    size_data_figure,
    size_frontier_figure,
    size_hyperparameter_figure,
    size_paths_figure,
)
from tdscale.report.figures.training import critical_against_best_figure, critical_batch_figure, overfitting_figure
from tdscale.report.figures.validation import baseline_figure, extrapolation_figure, held_out_figure, pareto_figure, validation_figure

__all__ = [
    "baseline_figure",
    "best_pairs_figure",
    "budget_figure",
    "comparison_figure",
    "compute_by_task_figure",
    "compute_figure",
    "critical_against_best_figure",
    "critical_batch_figure",
    "curves_figure",
    "data_by_task_figure",
    "data_figure",
    "extrapolation_figure",
    "frontier_figure",
    "held_out_figure",
    "hyperparameter_figure",
    "isotonic_figure",
    "overfitting_figure",
    "pareto_figure",
    "power_law_figure",
    "regret_figure",
    "selection_figure",
    "size_compute_figure",
    "size_data_figure",
    "size_frontier_figure",
    "size_hyperparameter_figure",
    "size_loss_figure",
    "size_paths_figure",
    "surface_figure",
    "validation_figure",
]
