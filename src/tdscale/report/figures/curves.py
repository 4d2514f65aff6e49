"""Learning curves, their isotonic fits and the thresholds (the paper's Figure 7)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from tdscale.analysis.crossings import cell_curve
from tdscale.report import style
from tdscale.report.figures.parts import Floats
from tdscale.runs.types import Cell

# points of all faint lines of a figure together: keeps the SVG small
_MOST_POINTS = 24_000


def curves_figure(cells: Sequence[Cell], thresholds: Sequence[float], *, keep_duplicates: bool = False) -> Figure | None:
    """A panel for each of up to `style.MOST_TASKS` tasks: seeds faint, their mean, its isotonic fit, up to four thresholds as lines.

    None without cells.

    Args:
        cells: at most one for each (task, σ).
        thresholds: J, normalised return.
        keep_duplicates: whether copies of a seed count in the mean (method "paper").
    """
    every = list(dict.fromkeys(cell.spec.task for cell in cells))
    if not every:
        return None
    tasks = style.select(every, style.MOST_TASKS)
    cells = [cell for cell in cells if cell.spec.task in tasks]
    utds = sorted({cell.spec.utd for cell in cells})
    colours = dict(zip(utds, style.ordered_colours(len(utds)), strict=True))
    lines = sum(len(cell.seeds) + 1 for cell in cells)
    ends = [max(float(cell.env_steps[-1]) for cell in cells if cell.spec.task == task) for task in tasks]
    shortest = min(float(cell.env_steps[-1]) for cell in cells)
    logarithmic = max(ends) / shortest > 3
    n_points = int(np.clip(_MOST_POINTS / lines, 20, 160))
    with style.styled():
        figure, all_axes = style.panels(len(tasks), columns=2 if len(tasks) <= 4 else 3, panel_height=2.8)
        style.some_tasks(figure, tasks, every)
        for axes, task in zip(all_axes, tasks, strict=True):
            of_task = sorted((cell for cell in cells if cell.spec.task == task), key=lambda cell: cell.spec.utd)
            _draw(axes, of_task, style.select(thresholds), colours, n_points, keep_duplicates, logarithmic)
            axes.set_title(style.label(task), loc="left")
        handles = [Line2D([], [], color=colours[u]) for u in utds]
        labels = [f"σ = {style.plain_utd(u)}" for u in utds]
        handles.append(Line2D([], [], color=style.FAINT, linestyle="--", linewidth=0.9))
        labels.append("J")
        style.legend_below(figure, handles, labels, columns=8)
    return figure


def _draw(
    axes: Axes,
    cells: Sequence[Cell],
    thresholds: Sequence[float],
    colours: dict[float, tuple[float, ...]],
    n_points: int,
    keep_duplicates: bool,
    logarithmic: bool,
) -> None:
    lowest, highest = 0.0, 0.0
    steps_end = max(int(cell.env_steps[-1]) for cell in cells)
    ends = [float(cell.env_steps[-1]) for cell in cells]
    for cell in cells:
        colour = colours[cell.spec.utd]
        returns = cell.counted_returns(keep_duplicates=keep_duplicates)
        steps = cell.env_steps.astype(np.float64)
        mean, counted = cell_curve(cell, keep_duplicates=keep_duplicates)
        seeds = [np.column_stack(_thinned(steps, seed, n_points, logarithmic)) for seed in returns]
        axes.add_collection(LineCollection(seeds, colors=[colour], linewidths=0.4, alpha=0.28, zorder=2), autolim=False)
        x, y = _thinned(steps, mean, n_points, logarithmic)
        axes.plot(x, y, color=colour, linewidth=0.7, alpha=0.75, zorder=3)
        fit = np.asarray(isotonic_regression(mean[counted]).x)
        change = np.concatenate([[True], np.diff(fit) > 0.5])
        change[-1] = True
        axes.plot(steps[counted][change], fit[change], drawstyle="steps-post", color=colour, linewidth=1.7, zorder=4)
        lowest, highest = min(lowest, float(np.quantile(mean, 0.01))), max(highest, float(fit[-1]))
    for threshold in thresholds:
        axes.axhline(threshold, color=style.FAINT, linestyle="--", linewidth=0.8, zorder=1)
    top = max(highest, max(thresholds, default=0.0))
    axes.set_ylim(lowest - 0.05 * (top - lowest), top + 0.12 * (top - lowest))
    if logarithmic:
        first = max(min(float(cell.env_steps[0]) for cell in cells), min(ends) / 60)
        style.log_axis(axes.xaxis, first, steps_end, style.thousands, "env steps")
    else:
        axes.set_xlim(0, steps_end)
        style.env_steps_axis(axes.xaxis)
    axes.set_ylabel("return (normalised)")


def _thinned(x: Floats, y: Floats, n_points: int, logarithmic: bool) -> tuple[Floats, Floats]:
    """Means over bins of equal width (or ratio): what the eye would see of a dense line anyway."""
    if len(x) <= n_points:
        return x, y
    place = np.log(np.maximum(x, 1.0)) if logarithmic else x
    bins = np.minimum(((place - place[0]) / (place[-1] - place[0]) * n_points).astype(int), n_points - 1)
    count = np.bincount(bins, minlength=n_points)
    used = count > 0
    return tuple(np.bincount(bins, weights=values, minlength=n_points)[used] / count[used] for values in (x, y))  # type: ignore[return-value]
