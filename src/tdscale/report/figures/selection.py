"""How D_J and the best B and η come about: isotonic regression of one curve, the sweep at one σ (the paper's Figure 7)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from tdscale.analysis.crossings import cell_curve, first_crossing
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.evidence import GridChoice
from tdscale.report.figures.parts import Floats, interval, limits
from tdscale.runs.types import AGGREGATES, Cell

_MOST_POINTS = 400


def isotonic_figure(cell: Cell, thresholds: Sequence[float], *, keep_duplicates: bool = False, axes: Axes | None = None) -> Figure:
    """A cell's seeds, their mean, its isotonic regression, and D_J where that first reaches each of up to four thresholds."""
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        returns = cell.counted_returns(keep_duplicates=keep_duplicates)
        steps = cell.env_steps.astype(np.float64)
        stride = max(1, len(steps) // _MOST_POINTS)
        lines = [np.column_stack([steps[::stride], seed[::stride]]) for seed in returns]
        axes.add_collection(LineCollection(lines, colors=[style.FAINT], linewidths=0.5, alpha=0.45, zorder=1), autolim=False)
        mean, counted = cell_curve(cell, keep_duplicates=keep_duplicates)
        fit = np.asarray(isotonic_regression(mean[counted]).x)
        axes.plot(steps, mean, color=style.TASK_COLOURS[5], linewidth=0.9, zorder=3)
        axes.plot(steps[counted], fit, color=style.TASK_COLOURS[0], linewidth=2.0, drawstyle="steps-post", zorder=4)
        top = max(float(returns.max()), max(thresholds))
        bottom = min(0.0, float(np.quantile(mean, 0.01)))
        levels = style.select(thresholds)
        for level, crossing in zip(levels, first_crossing(mean, levels, counted=counted), strict=True):
            if crossing == len(steps):
                axes.axhline(level, color=style.FAINT, linestyle=":", linewidth=0.8, zorder=2)
                continue
            at = steps[crossing]
            axes.plot([0, at, at], [level, level, bottom], color=style.TASK_COLOURS[1], linestyle=(0, (3, 2)), linewidth=0.9, zorder=5)
            axes.plot([at], [level], linestyle="none", marker="o", color=style.TASK_COLOURS[1], markersize=5, zorder=6)
        axes.set_xlim(0, steps[-1])
        axes.set_ylim(bottom, top * 1.04)
        style.env_steps_axis(axes.xaxis)
        axes.set_ylabel("return (normalised)")
        axes.set_title(f"{style.label(cell.spec.task)}, σ = {style.plain_utd(cell.spec.utd)}", loc="left")
        handles = [
            Line2D([], [], color=style.FAINT, linewidth=0.8),
            Line2D([], [], color=style.TASK_COLOURS[5], linewidth=0.9),
            Line2D([], [], color=style.TASK_COLOURS[0], linewidth=2.0),
            Line2D([], [], color=style.TASK_COLOURS[1], linestyle=(0, (3, 2)), marker="o", markersize=5, linewidth=0.9),
        ]
        style.legend_below(figure, handles, ["seeds", f"their {AGGREGATES[cell.aggregate]}", "isotonic regression", "data until J"])
    return figure


def selection_figure(laws: ScalingLaws, chosen: GridChoice) -> Figure | None:
    """D over the sweep's B (a line per η) and η (a line per B) with 80 % intervals, and the best value with its interval.

    None where neither B nor η was varied.
    """
    cases: list[tuple[str, Floats, Floats, Floats, PowerLaw | None]] = []
    if len(chosen.batch_sizes) > 1:
        cases.append(("batch size B", chosen.batch_sizes, chosen.learning_rates, chosen.data, laws.batch_size))
    if len(chosen.learning_rates) > 1:
        cases.append(("learning rate η", chosen.learning_rates, chosen.batch_sizes, np.swapaxes(chosen.data, 1, 2), laws.learning_rate))
    if not cases:
        return None
    with style.styled():
        figure, all_axes = style.panels(len(cases), panel_height=3.4)
        y_limits = limits(chosen.data[0], margin=1.35)
        for axes, (name, values, others, data, law) in zip(all_axes, cases, strict=True):
            _draw(axes, values, others, data)
            _mark_best(axes, chosen, law)
            say = style.plain if name.startswith("batch") else style.scientific
            style.value_axis(axes.xaxis, values.tolist(), say, name)
            style.log_axis(axes.yaxis, *y_limits, style.thousands, style.DATA_LABEL)
            if len(others) > 1:
                other = "η" if name.startswith("batch") else "B"
                handles = [Line2D([], [], color=colour) for colour in style.ordered_colours(len(others))]
                tell = style.scientific if other == "η" else style.plain
                labels = [f"{other} = {tell(v)}" for v in others]
                legend = axes.legend(handles, labels, fontsize=7, loc="upper center", ncols=2, handlelength=1.2, frameon=True)
                legend.get_frame().set(facecolor="white", edgecolor="none", alpha=0.9)
        title = f"{style.label(chosen.task)}, σ = {style.plain_utd(chosen.utd)}, J = {chosen.threshold:.4g}"
        all_axes[0].set_title(title, loc="left")
        handles = [Line2D([], [], color=style.TASK_COLOURS[1])]
        style.legend_below(figure, handles, ["best value, bootstrapped, with its interval"])
    return figure


def _draw(axes: Axes, values: Floats, others: Floats, data: Floats) -> None:
    """A line per other setting through the D that are there, with bars of their draws."""
    for place, colour in enumerate(style.ordered_colours(len(others))):
        line = data[0, :, place]
        known = np.isfinite(line)
        x = values[known] * 1.02 ** (place - (len(others) - 1) / 2)
        low, high = interval(data[1:, :, place])
        high = np.where(np.isfinite(high), high, data[0, :, place] * 1.5)
        axes.plot(x, line[known], color=colour, marker="o", markersize=3.5, linewidth=1.1, zorder=3)
        axes.vlines(x, low[known], high[known], color=colour, linewidth=0.8, alpha=0.7, zorder=2)


def _mark_best(axes: Axes, chosen: GridChoice, law: PowerLaw | None) -> None:
    if law is None or law.source != "sweep" or chosen.task not in law.tasks:
        return
    match = np.flatnonzero(np.isclose(law.utd, chosen.utd))
    if not match.size:
        return
    row, column = law.tasks.index(chosen.task), int(match[0])
    best, low, high = (float(values[row, column]) for values in (law.points, law.points_low, law.points_high))
    if np.isfinite(best):
        axes.axvspan(low, high, color=style.TASK_COLOURS[1], alpha=0.12, linewidth=0, zorder=0)
        axes.axvline(best, color=style.TASK_COLOURS[1], linewidth=1.4, zorder=1)
