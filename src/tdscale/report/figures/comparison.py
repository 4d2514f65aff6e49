"""Frontiers of several studies: D at equal C with intervals, and the ratio to the first study."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.compute import UNIT_NAMES
from tdscale.planning import Comparison, Contrast
from tdscale.report import style
from tdscale.report.figures.parts import Floats, limits

_LABELS = {
    "data": ("compute C ({unit})", "data D until J (env steps)", "ratio of D"),
    "compute": ("data D (env steps)", "compute C until J ({unit})", "ratio of C"),
    "return": ("budget F = C + δ·D ({unit})", "return J (normalised)", "difference of J"),
}


def comparison_figure(comparison: Comparison, *, task: str | None = None, axes: Axes | None = None) -> Figure | None:
    """What each study needs at equal compute, at equal data, and reaches at equal budgets, above; below, compared with the first study.

    A band is an 80 % interval. None where no measure has an answer.

    Args:
        comparison: what is drawn.
        task: one of its tasks; None: over the tasks.
        axes: draw D at equal C alone into these.
    """
    wanted = ("data",) if axes is not None else ("data", "compute", "return")
    answered = [one for measure in wanted if not (one := comparison.of(measure, task)).refusal]  # type: ignore[arg-type]
    if not answered:
        return None
    colours = [style.TASK_COLOURS[index % len(style.TASK_COLOURS)] for index in range(len(comparison.names))]
    with style.styled():
        if axes is not None:
            figure, axes = style.figure_and_axes(axes)
            _values(axes, comparison, answered[0], colours)
        else:
            figure = style.new_figure((3.4 * len(answered), 5.4))
            grid = figure.add_gridspec(2, len(answered), height_ratios=(3, 2))
            for column, one in enumerate(answered):
                _values(figure.add_subplot(grid[0, column]), comparison, one, colours)
                _ratios(figure.add_subplot(grid[1, column]), comparison, one, colours)
        handles = [Line2D([], [], color=colour) for colour in colours]
        style.legend_below(figure, handles, [style.label(name) for name in comparison.names])
    return figure


def _along(one: Contrast, index: int, what: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Where, value, low and high of one study."""
    estimates = [(point.ratio if what == "ratio" else point.values)[index] for point in one.points]
    value, low, high = np.array([(estimate.value, estimate.low, estimate.high) for estimate in estimates]).T
    return np.array([point.at for point in one.points]), value, low, high


def _values(axes: Axes, comparison: Comparison, one: Contrast, colours: list[str]) -> None:
    x_label, y_label, _ = (text.format(unit=UNIT_NAMES[comparison.unit]) for text in _LABELS[one.measure])
    drawn, at = [], np.array([point.at for point in one.points])
    for index, colour in enumerate(colours):
        _, value, low, high = _along(one, index, "value")
        _line(axes, at, value, low, high, colour)
        drawn.append(value[np.isfinite(value)])
    if one.measure == "return":
        axes.set_ylabel(y_label)
    else:
        say = style.thousands if one.measure == "data" else style.scientific
        style.log_axis(axes.yaxis, *limits(*drawn, margin=1.3), say, y_label)
    _below(axes, at, one, x_label)


def _ratios(axes: Axes, comparison: Comparison, one: Contrast, colours: list[str]) -> None:
    x_label, _, y_label = (text.format(unit=UNIT_NAMES[comparison.unit]) for text in _LABELS[one.measure])
    at = np.array([point.at for point in one.points])
    same = 0.0 if one.measure == "return" else 1.0
    axes.axhline(same, color=colours[0], linewidth=1.0)
    drawn = [np.array([1.0])]
    for index, colour in enumerate(colours[1:], start=1):
        _, value, low, high = _along(one, index, "ratio")
        _line(axes, at, value, low, high, colour)
        drawn += [values[np.isfinite(values) & (values > 0)] for values in (value, low, high)]
    if one.measure == "return":
        axes.set_ylabel(y_label)
    else:
        low_end, high_end = limits(*drawn, margin=1.1)
        style.log_axis(axes.yaxis, max(low_end, 0.1), min(high_end, 10.0), style.plain, y_label, 5)
    _below(axes, at, one, x_label)


def _line(axes: Axes, at: Floats, value: Floats, low: Floats, high: Floats, colour: str) -> None:
    top = 1e3 * np.nanmax(value[np.isfinite(value)]) if np.isfinite(value).any() else 1.0
    axes.fill_between(at, low, np.minimum(high, top), color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(at, value, color=colour, zorder=3)


def _below(axes: Axes, at: Floats, one: Contrast, label: str) -> None:
    say = style.thousands if one.measure == "compute" else style.scientific
    style.log_axis(axes.xaxis, float(at[0]), float(at[-1]) * (1.0 if len(at) > 1 else 1.2), say, label, 3)
