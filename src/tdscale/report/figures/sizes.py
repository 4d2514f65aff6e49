"""Laws with model size: D, C, B* and η* over σ and N, the frontier of all sizes, and σ*(F), N*(F) (docs/method.md, "Model size")."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.arrays import Bools
from tdscale.analysis.budget import utd_grid
from tdscale.analysis.fitted_laws import PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.size_family import SizeFamily
from tdscale.analysis.size_law import SizeLaw
from tdscale.analysis.views import at_size
from tdscale.planning.sizes import Paths
from tdscale.report import style
from tdscale.report.figures.parts import (
    REACH,
    Floats,
    beside,
    has_compute,
    interval,
    limits,
    line_and_band,
    mean_over_tasks,
    points_with_intervals,
    reach_grid,
    tradeoff_axes,
)

SIZE_LABEL = "model size N (parameters of the critics)"
_MOST_LINES = 5
_POINTS = 33  # of N along an axis
_HEIGHT = 3.1  # of a panel, inches


def size_data_figure(laws: ScalingLaws) -> Figure | None:
    """D at the highest J that has a law: against σ, a line for each N, and against N, a line for each σ. None without sizes."""
    return _by_axis(laws, compute=False)


def size_compute_figure(laws: ScalingLaws) -> Figure | None:
    """C in the same way, at B*(σ, N). None without sizes or compute."""
    return _by_axis(laws, compute=True) if laws.sizes is not None and has_compute(laws) else None


def size_hyperparameter_figure(laws: ScalingLaws) -> Figure | None:
    """B*(σ, N) and η*(σ, N) against N, a line for each σ. None where neither has a part for N."""
    family = laws.sizes
    found = [law for law in (family.batch_size, family.learning_rate) if law is not None and law.size is not None] if family else []
    if not found:
        return None
    with style.styled():
        figure, all_axes = style.panels(len(found), columns=1, panel_height=_HEIGHT)
        for axes, law in zip(all_axes, found, strict=True):
            _draw_best(axes, law)
        utds = style.select([float(u) for u in found[0].utd], _MOST_LINES)
        handles, labels = _lines(utds, "σ", style.plain_utd, "viridis")
        style.legend_below(figure, handles, labels, columns=5)
    return figure


def size_frontier_figure(laws: ScalingLaws, *, axes: Axes | None = None) -> Figure | None:
    """D against C until the highest J as σ rises, a line for each N, and their lower envelope over all N between. None without compute."""
    family = laws.sizes
    if family is None or not family.data or not has_compute(laws):
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        sizes = _sizes_reached(family)
        drawn = []
        for size, colour, marker in zip(sizes, _colours(len(sizes)), style.MARKERS, strict=False):
            seen = at_size(laws, size, with_budgets=False)
            law = seen.data[-1]
            grid = utd_grid(*law.range, 80)
            data = law.predict(grid)
            compute = seen.compute_for(grid, data)
            axes.plot(compute, data, color=colour, zorder=3)
            utd, mean = mean_over_tasks(law)
            at = seen.compute_for(utd, mean)
            axes.plot(at, mean, linestyle="none", marker=marker, color=colour, markersize=5, markeredgecolor="white", zorder=4)
            drawn.append((compute, data, at, mean))
        compute, data = envelope(laws, family)
        axes.plot(compute, data, color=style.INK, linewidth=3.2, alpha=0.35, zorder=2, solid_joinstyle="round")
        x_limits = limits(*(value for row in drawn for value in (row[0], row[2])))
        y_limits = limits(*(value for row in drawn for value in (row[1], row[3])))
        tradeoff_axes(axes, laws, x_limits, y_limits)
        axes.set_title(f"J = {family.data[-1].threshold:.4g}", loc="left")
        handles, labels = _lines(sizes, "N", style.thousands, "cividis", marked=True)
        handles.append(Line2D([], [], color=style.INK, linewidth=3.2, alpha=0.35))
        labels.append("the best of all N")
        style.legend_below(figure, handles, labels, columns=6)
    return figure


def envelope(laws: ScalingLaws, family: SizeFamily) -> tuple[Floats, Floats]:
    """C and D, at the highest J, of the σ and N within what was run to which none is better in both: shapes (n,), C rising."""
    pairs = []
    for size in np.geomspace(family.sizes.model_size[0], family.sizes.model_size[-1], 2 * _POINTS):
        seen = at_size(laws, float(size), with_budgets=False)
        law = seen.data[-1]
        grid = utd_grid(*law.range, 80)
        data = law.predict(grid)
        pairs.append(np.stack([seen.compute_for(grid, data), data]))
    compute, data = np.concatenate(pairs, axis=1)
    order = np.lexsort([data, compute])
    compute, data = compute[order], data[order]
    least = np.minimum.accumulate(data)
    best = np.concatenate([[True], least[1:] < least[:-1]])
    return compute[best], data[best]


def size_paths_figure(paths: Paths | None, laws: ScalingLaws) -> Figure | None:
    """σ*(F) and N*(F): the cheapest (σ, N) for each J, F = C + δ·D, with 80 % intervals and the power law through them.

    None where they are not known.
    """
    family = laws.sizes
    if paths is None or family is None:
        return None
    known = np.isfinite(paths.budget[0])
    if not known.any():
        return None
    utds = [float(u) for law in family.data for u in law.utd]
    with style.styled():
        figure, all_axes = style.panels(2, columns=1, panel_height=2.9)
        colours = style.threshold_colours(int(known.sum()))
        x_limits = limits(paths.budget[0, known], margin=1.8)
        panels = (
            (paths.utd, paths.utd_exponent, (min(utds), max(utds)), "σ"),
            (paths.model_size, paths.size_exponent, family.sizes.model_size, "N"),
        )
        for axes, (values, exponent, run, symbol) in zip(all_axes, panels, strict=True):
            _draw_path(axes, paths.budget[:, known], values[:, known], exponent.value, (run[0], run[-1]), colours)
            style.log_axis(axes.xaxis, *x_limits, style.scientific, f"budget F = C + δ·D ({style.unit(laws)})")
            ends = limits(values[0, known], np.array([run[0], run[-1]]), margin=1.6)
            if symbol == "σ":
                style.utd_axis(axes.yaxis, *ends, "cheapest UTD ratio σ*")
            else:
                style.log_axis(axes.yaxis, *ends, style.thousands, "cheapest model size N*")
            text = f"{symbol}*(F) ∝ F to the power {exponent}" if np.isfinite(exponent.value) else f"{symbol}*(F)"
            if _at_end(values[0, known], (run[0], run[-1])).all():
                text = f"{symbol}*(F): at an end of the {symbol} that were run, for every J"
            axes.set_title(text, loc="left")
        thresholds = paths.thresholds[known]
        first_and_last = [0, len(thresholds) - 1] if len(thresholds) > 1 else [0]
        handles: list[Any] = [Line2D([], [], color=colours[i], marker="o", markersize=5.5, linewidth=0.9) for i in first_and_last]
        labels = [f"J = {thresholds[i]:.4g}" + (" …" if i == 0 and len(thresholds) > 2 else "") for i in first_and_last]
        handles += [
            Line2D([], [], color=style.FAINT, marker="o", markerfacecolor="white", markersize=5.5, linestyle="none"),
            Line2D([], [], color=style.FAINT, linestyle=":", linewidth=0.9),
        ]
        labels += ["at an end of what was run", "least and largest run"]
        style.legend_below(figure, handles, labels)
    return figure


def _draw_path(axes: Axes, budget: Floats, values: Floats, exponent: float, run: tuple[float, float], colours: Sequence[Any]) -> None:
    """Points with both intervals, hollow at an end of what was run, and the power law through their middle."""
    f_low, f_high = interval(np.where(np.isfinite(budget[1:]), budget[1:], np.nan))
    low, high = interval(np.where(np.isfinite(budget[1:]), values[1:], np.nan))
    for place, colour in enumerate(colours):
        x, y = budget[0, place], values[0, place]
        axes.plot([x, x], [low[place], high[place]], color=colour, linewidth=0.9, zorder=4)
        axes.plot([f_low[place], f_high[place]], [y, y], color=colour, linewidth=0.9, zorder=4)
        face = "white" if _at_end(y, run) else colour
        axes.plot([x], [y], linestyle="none", marker="o", color=colour, markerfacecolor=face, markersize=5.5, zorder=5)
    for edge in run:
        axes.axhline(edge, color=style.FAINT, linestyle=":", linewidth=0.9, zorder=1)
    if np.isfinite(exponent):
        ends = np.array([budget[0].min() / 1.4, budget[0].max() * 1.4])
        middle = np.exp(np.log(values[0]).mean() + exponent * (np.log(ends) - np.log(budget[0]).mean()))
        axes.plot(ends, middle, color=style.INK, linewidth=1.1, zorder=2)


def _at_end(values: Floats, run: tuple[float, float]) -> Bools:
    return np.asarray((values < run[0] * 1.01) | (values > run[1] * 0.99))


def _by_axis(laws: ScalingLaws, *, compute: bool) -> Figure | None:
    family = laws.sizes
    if family is None or not family.data:
        return None
    law = family.data[-1]
    sizes = _sizes_reached(family)
    utds = style.select(sorted({float(u) for u in law.utd}), _MOST_LINES)
    with style.styled():
        figure, (over_utd, over_size) = style.panels(2, columns=1, panel_height=_HEIGHT)
        drawn = _draw_over_utd(over_utd, laws, sizes, compute)
        drawn += _draw_over_size(over_size, laws, family, utds, compute)
        for axes in (over_utd, over_size):
            say, label = (style.scientific, f"compute C until J ({style.unit(laws)})") if compute else (style.thousands, style.DATA_LABEL)
            style.log_axis(axes.yaxis, *limits(*drawn), say, label)
        for axes, values, symbol, say_value, palette in (
            (over_utd, sizes, "N", style.thousands, "cividis"),
            (over_size, utds, "σ", style.plain_utd, "viridis"),
        ):
            handles, labels = _lines(values, symbol, say_value, palette, marked=symbol == "N")
            axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4)
        over_utd.set_title(f"J = {law.threshold:.4g}", loc="left")
    return figure


def _draw_over_utd(axes: Axes, laws: ScalingLaws, sizes: Sequence[float], compute: bool) -> list[Floats]:
    drawn: list[Floats] = []
    for place, (size, colour, marker) in enumerate(zip(sizes, _colours(len(sizes)), style.MARKERS, strict=False)):
        seen = at_size(laws, size, with_budgets=False)
        law = seen.data[-1]
        utd = reach_grid(*law.range, 80)
        convert = _converter(seen, compute)
        y = convert(utd, law.predict(utd))
        line_and_band(axes, utd, y, convert(utd, law.predict_draws(utd)), law.range, colour)
        at, mean = mean_over_tasks(law)
        points = convert(at, mean)
        blank = np.full(len(points), np.nan)
        points_with_intervals(axes, beside(at, place, len(sizes)), points, blank, blank, colour=colour, marker=marker)
        drawn += [y, points]
    ends = [float(u) for law in laws.data[-1:] for u in (law.range[0] / REACH, law.range[1] * REACH)]
    style.utd_axis(axes.xaxis, ends[0], ends[1], style.UTD_LABEL)
    return drawn


def _draw_over_size(axes: Axes, laws: ScalingLaws, family: SizeFamily, utds: Sequence[float], compute: bool) -> list[Floats]:
    low, high = family.data[-1].size_range
    sizes = np.geomspace(low / REACH, high * REACH, _POINTS)
    at = np.array(utds)
    lines, draws = np.empty((len(at), len(sizes))), np.empty((len(at), len(laws.data[-1].drift_draws), len(sizes)))
    for column, size in enumerate(sizes):
        seen = at_size(laws, float(size), with_budgets=False)
        law, convert = seen.data[-1], _converter(seen, compute)
        lines[:, column] = convert(at, law.predict(at))
        draws[:, :, column] = convert(at, law.predict_draws(at)).T
    colours = style.ordered_colours(len(utds))
    for row, colour in enumerate(colours):
        line_and_band(axes, sizes, lines[row], draws[row], (low, high), colour)
    drawn = [*lines]
    for size in reached_sizes(family.data[-1]):
        seen = at_size(laws, size, with_budgets=False)
        found, mean = mean_over_tasks(seen.data[-1])
        points = _converter(seen, compute)(found, mean)
        for place, (utd, colour) in enumerate(zip(utds, colours, strict=True)):
            here = np.isclose(found, utd)
            blank = np.full(int(here.sum()), np.nan)
            x = beside(np.full(int(here.sum()), size), place, len(utds), 1.05)
            points_with_intervals(axes, x, points[here], blank, blank, colour=colour)
        drawn.append(points)
    style.log_axis(axes.xaxis, float(sizes[0]), float(sizes[-1]), style.thousands, SIZE_LABEL)
    return drawn


def _draw_best(axes: Axes, law: PowerLaw) -> None:
    assert law.size is not None
    sizes = law.size.model_sizes
    grid = np.geomspace(sizes[0] / REACH, sizes[-1] * REACH, _POINTS)
    utds = style.select([float(u) for u in law.utd], _MOST_LINES)
    drawn: list[Floats] = []
    for place, (utd, colour) in enumerate(zip(utds, style.ordered_colours(len(utds)), strict=True)):
        one = np.full(len(grid), utd)
        y = law.predict(one, None, grid)
        line_and_band(axes, grid, y, law.predict_draws(one, None, grid), (float(sizes[0]), float(sizes[-1])), colour)
        points, low, high = (_mean_point(law, values, utd) for values in (law.points, law.points_low, law.points_high))
        points_with_intervals(axes, beside(sizes, place, len(utds), 1.05), points, low, high, colour=colour)
        drawn += [y, points]
    batch = law.quantity == "batch_size"
    name = "batch size B* (transitions)" if batch else "learning rate η*"
    style.log_axis(axes.xaxis, float(grid[0]), float(grid[-1]), style.thousands, SIZE_LABEL)
    bottom, top = limits(*drawn, margin=1.4)
    if batch and top / bottom > 4:
        style.utd_axis(axes.yaxis, bottom, top, name)
    else:
        style.log_axis(axes.yaxis, bottom, top, style.plain if batch else style.scientific, name)
    slope = f"slope in log N at N = {style.thousands(law.size.reference)}: {law.size.slope}"
    axes.set_title(slope + ("" if law.size.identified else ", sign not identified"), loc="left")


def _mean_point(law: PowerLaw, values: Floats, utd: float) -> Floats:
    """Geometric mean over tasks of the best values at σ and each size, the law's level standing in for a task without one: (n_sizes,)."""
    assert law.size is not None
    column = int(np.argmin(np.abs(law.utd - utd)))
    sizes = law.size.model_sizes
    one = np.full(len(sizes), utd)
    expected = np.stack([law.predict(one, task, sizes) for task in law.tasks])
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.log(values[:, column] / expected)
    seen = np.isfinite(excess)
    count = seen.sum(axis=0)
    mean = np.where(seen, excess, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    return np.asarray(law.predict(one, None, sizes) * np.exp(mean))


def _sizes_reached(family: SizeFamily) -> list[float]:
    """Up to five N at which a task reached the highest J: only these have points."""
    law = family.data[-1]
    return style.select(reached_sizes(law), _MOST_LINES)


def reached_sizes(law: SizeLaw) -> list[float]:
    """N, rising, at which a task reached the law's threshold."""
    return [float(size) for size in np.unique(law.model_size[np.isfinite(law.data).any(axis=0)])]


def _converter(laws: ScalingLaws, compute: bool) -> Callable[[Floats, Floats], Floats]:
    if not compute:
        return lambda _utd, data: data
    return laws.compute_for


def _colours(n: int) -> list[Any]:
    return style.ordered_colours(n, "cividis")


def _lines(
    values: Sequence[float], symbol: str, say: Callable[[float], str], palette: str, *, marked: bool = False
) -> tuple[list[Any], list[str]]:
    """A legend's handles and labels. `marked`: each has its own marker."""
    handles = [
        Line2D([], [], color=colour, marker=marker if marked else "", markersize=4.5)
        for colour, marker in zip(style.ordered_colours(len(values), palette), style.MARKERS, strict=False)
    ]
    return handles, [f"{symbol} = {say(value)}" for value in values]
