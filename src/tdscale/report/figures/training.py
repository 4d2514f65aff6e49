"""What training did to the critics: overfitting and parameter norms, the critical batch size (the paper's Figures 4, 8 and 9)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.diagnostics import CellDiagnostics, critical_batch_curve, least_absolute_line, summarise_cells
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.figures.parts import limits
from tdscale.runs.types import RunDiagnostics

_MOST_TASKS = 3
# what is drawn, against what, and how that axis reads
_PANELS = (
    ("overfitting", "utd", "TD error, newest − uniform", "UTD ratio σ"),
    ("overfitting", "batch_size", "TD error, newest − uniform", "batch size B"),
    ("validation_overfitting", "utd", "TD error, validation − uniform", "UTD ratio σ"),
    ("validation_overfitting", "batch_size", "TD error, validation − uniform", "batch size B"),
    ("parameter_norm", "utd", "norm of the critics’ parameters", "UTD ratio σ"),
    ("parameter_norm", "learning_rate", "norm of the critics’ parameters", "learning rate η"),
)


def overfitting_figure(runs: Sequence[RunDiagnostics]) -> Figure | None:
    """Overfitting, on the newest and on validation transitions, against σ and B, parameter norm against σ and η.

    A point per cell of up to three tasks. Lines are those of least absolute error against the logarithm. None where nothing was logged
    or nothing was varied.
    """
    cells = summarise_cells(runs)
    tasks = list(dict.fromkeys(cell.task for cell in cells))[:_MOST_TASKS]
    cells = [cell for cell in cells if cell.task in tasks]
    drawn = [panel for panel in _PANELS if _varies(cells, panel[0], panel[1])]
    if not drawn:
        return None
    with style.styled():
        figure, all_axes = style.panels(len(drawn))
        for axes, (quantity, against, y_label, x_label) in zip(all_axes, drawn, strict=True):
            _scatter(axes, cells, tasks, quantity, against, x_label)
            axes.set_ylabel(y_label)
        handles = [_handle(tasks, task) for task in tasks]
        style.legend_below(figure, handles, [style.label(task) for task in tasks])
    return figure


def critical_batch_figure(runs: Sequence[RunDiagnostics], *, axes: Axes | None = None) -> Figure | None:
    """B_crit over training, a line per run, coloured by task; None where gradient norms were not logged."""
    tasks = list(dict.fromkeys(run.spec.task for run in runs))
    curves = [(run.spec.task, *critical_batch_curve(run)) for run in runs]
    curves = [(task, steps, values) for task, steps, values in curves if np.isfinite(values).any()]
    if not curves:
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        for task, steps, values in curves:
            axes.plot(steps, values, color=style.colour_of(tasks, task), linewidth=0.8, alpha=0.6)
        style.log_axis(axes.yaxis, *limits(*(values for _, _, values in curves)), style.plain, "critical batch size B_crit")
        style.env_steps_axis(axes.xaxis)
        shown = [task for task in tasks if any(task == name for name, _, _ in curves)]
        handles = [Line2D([], [], color=style.colour_of(tasks, task)) for task in shown]
        style.legend_below(figure, handles, [style.label(task) for task in shown])
    return figure


def critical_against_best_figure(laws: ScalingLaws, runs: Sequence[RunDiagnostics], *, axes: Axes | None = None) -> Figure | None:
    """B*(σ) against B_crit, a point per cell; None without a law for B* or logged gradient norms."""
    law = laws.batch_size
    cells = [cell for cell in summarise_cells(runs) if np.isfinite(cell.critical_batch_size) and cell.task in laws.tasks]
    if law is None or not cells:
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        best = np.array([law.predict([cell.utd], cell.task)[0] for cell in cells])
        critical = np.array([cell.critical_batch_size for cell in cells])
        tasks = [task for task in laws.tasks if any(cell.task == task for cell in cells)]
        for task in tasks:
            use = np.array([cell.task == task for cell in cells])
            colour, marker = style.colour_of(laws.tasks, task), style.marker_of(laws.tasks, task)
            axes.plot(critical[use], best[use], linestyle="none", color=colour, marker=marker, markersize=5)
        style.log_axis(axes.xaxis, *limits(critical, margin=1.4), style.plain, "critical batch size B_crit")
        style.log_axis(axes.yaxis, *limits(best, margin=1.4), style.plain, "best batch size B*")
        style.legend_below(figure, [_handle(laws.tasks, task) for task in tasks], [style.label(task) for task in tasks])
    return figure


def _handle(tasks: Sequence[str], task: str) -> Line2D:
    return Line2D([], [], color=style.colour_of(tasks, task), marker=style.marker_of(tasks, task), markersize=5)


def _varies(cells: Sequence[CellDiagnostics], quantity: str, against: str) -> bool:
    return len({getattr(cell, against) for cell in cells if np.isfinite(getattr(cell, quantity))}) > 1


def _scatter(axes: Axes, cells: Sequence[CellDiagnostics], tasks: Sequence[str], quantity: str, against: str, label: str) -> None:
    everything = [getattr(cell, against) for cell in cells]
    for task in tasks:
        known = [cell for cell in cells if cell.task == task and np.isfinite(getattr(cell, quantity))]
        if not known:
            continue
        x, y = (np.array([getattr(cell, name) for cell in known]) for name in (against, quantity))
        colour = style.colour_of(tasks, task)
        axes.plot(x, y, linestyle="none", color=colour, marker=style.marker_of(tasks, task), markersize=4, alpha=0.6)
        if len(set(x)) > 1:
            slope, intercept = least_absolute_line(np.log(x), y)
            ends = np.array([x.min(), x.max()])
            axes.plot(ends, intercept + slope * np.log(ends), color=colour)
    low, high = min(everything) / 1.3, max(everything) * 1.3
    if against == "learning_rate":
        style.log_axis(axes.xaxis, low, high, style.scientific, label, most=4)
    else:
        style.utd_axis(axes.xaxis, low, high, label)
    axes.yaxis.set_major_locator(style.few_ticks())
    axes.yaxis.set_major_formatter(style.written(style.plain))
