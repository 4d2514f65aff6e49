"""Plots for notebooks: each draws into matplotlib axes and returns them."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.errors import UserError
from tdscale.planning import Comparison
from tdscale.report.figures import comparison_figure, data_figure, frontier_figure


def plot_data(laws: ScalingLaws, ax: Axes | None = None, *, task: str | None = None) -> Axes:
    """D_J(σ) of a task, or (None) of the domain, with points and 80 % intervals.

    Args:
        laws: of a study.
        ax: axes to draw into; None makes a figure, `result.figure`.
        task: one of the tasks.

    Raises:
        UserError: where there is nothing to draw.
    """
    return _drawn(data_figure(laws, task=task, axes=ax), ax, "no data law was fitted")


def plot_frontier(laws: ScalingLaws, ax: Axes | None = None) -> Axes:
    """D against C until J as σ rises, with lines of equal budget. Arguments and errors as of `plot_data`."""
    return _drawn(frontier_figure(laws, axes=ax), ax, "compute is not known")


def plot_comparison(comparison: Comparison, ax: Axes | None = None, *, task: str | None = None) -> Axes:
    """D of each study at equal compute, with 80 % intervals. Arguments and errors as of `plot_data`."""
    if ax is None:
        figure = Figure(layout="constrained")
        ax = figure.add_subplot()
    return _drawn(comparison_figure(comparison, task=task, axes=ax), ax, comparison.of("data", task).refusal)


def _drawn(figure: Figure | None, ax: Axes | None, problem: str) -> Axes:
    if figure is None:
        raise UserError(f"there is nothing to draw: {problem}")
    return figure.axes[0] if ax is None else ax
