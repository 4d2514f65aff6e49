"""Frontiers with lines of equal budget (the paper's Figures 1, right, and 3) and the law σ*(F) (Figure 1, middle)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.budget import utd_grid
from tdscale.analysis.fitted_laws import BudgetLaw, DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.figures.parts import has_compute, interval, limits, tradeoff_axes
from tdscale.validation import HeldOutBudget


def frontier_figure(laws: ScalingLaws, *, axes: Axes | None = None) -> Figure | None:
    """Data against compute until J as σ rises, for several J, with the line C + δ·D = F that touches each; None without compute."""
    if not has_compute(laws):
        return None
    shown: list[DataLaw] = style.select(laws.data)
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        utds = sorted({utd for law in shown for utd in law.reached})
        utd_colours = dict(zip(utds, style.ordered_colours(len(utds)), strict=True))
        spread = []
        for law, colour in zip(shown, style.threshold_colours(len(shown)), strict=True):
            low, high = law.range
            grid = utd_grid(low, high, 120)
            data = law.predict(grid)
            compute = laws.compute_for(grid, data)
            axes.plot(compute, data, color=colour, zorder=3)
            spread.append((data, compute))
            marks = np.array([u for u in utds if low <= u <= high])
            at = law.predict(marks)
            lows, highs = interval(law.predict_draws(marks))
            for utd, value, left, right in zip(marks, at, lows, highs, strict=True):
                u, ends = np.array([utd, utd]), np.array([left, right])
                if np.isfinite(ends).all():
                    # at a given σ compute goes with data: the interval is a slanted bar
                    axes.plot(laws.compute_for(u, ends), ends, color=colour, linewidth=0.9, alpha=0.6, zorder=3)
                axes.plot(
                    laws.compute_for(u[:1], np.array([value])),
                    [value],
                    "o",
                    color=utd_colours[float(utd)],
                    markersize=5.5,
                    markeredgecolor="white",
                    markeredgewidth=0.5,
                    zorder=5,
                )
        x_limits = limits(*(compute for _, compute in spread), margin=1.35)
        y_limits = limits(*(data for data, _ in spread), margin=1.35)
        optima = _draw_budget_lines(axes, laws, shown, x_limits)
        tradeoff_axes(axes, laws, x_limits, y_limits)
        handles = [Line2D([], [], color=colour) for colour in style.threshold_colours(len(shown))]
        labels = [f"J = {law.threshold:.4g}" for law in shown]
        if optima:
            handles += [
                Line2D([], [], linestyle="none", marker="*", color="white", markeredgecolor=style.INK, markersize=11),
                Line2D([], [], color=style.FAINT, linestyle=(0, (4, 2)), linewidth=1.0),
            ]
            labels += ["cheapest σ*", "same budget F = C + δ·D"]
        handles += [Line2D([], [], linestyle="none", marker="o", color=utd_colours[u], markersize=5.5) for u in utds]
        labels += [f"σ = {style.plain_utd(u)}" for u in utds]
        figure.legend(handles, labels, loc="outside right upper", handlelength=1.6)
    return figure


def _draw_budget_lines(axes: Axes, laws: ScalingLaws, shown: list[DataLaw], x_limits: tuple[float, float]) -> bool:
    """The iso-budget line through each optimum, the optimum as a star. Returns whether there was any."""
    if laws.budget is None:
        return False
    thresholds = [law.threshold for law in shown]
    points = [point for point in laws.budget.points if point.threshold in thresholds]
    for point in points:
        total, cost = point.budget.value, laws.budget.data_cost
        compute = np.exp(np.linspace(np.log(x_limits[0]), np.log(max(min(total, x_limits[1]), x_limits[0])), 300))
        rest = (total - compute) / cost
        axes.plot(compute[rest > 0], rest[rest > 0], color=style.FAINT, linestyle=(0, (4, 2)), linewidth=1.0, zorder=2)
        axes.plot(
            [point.compute], [point.data], linestyle="none", marker="*", color="white", markeredgecolor=style.INK, markersize=11, zorder=6
        )
    return bool(points)


def budget_figure(laws: ScalingLaws, held_out: HeldOutBudget | None = None, *, axes: Axes | None = None) -> Figure | None:
    """σ*(F), a point per threshold, the law through them and its interval; None where there is no budget law.

    With `held_out`, what the law says of its largest budgets when they are left out of its fit is drawn beside what was found there.
    """
    law = laws.budget
    if law is None or not law.points:
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        budgets = np.array([p.budget.value for p in law.points])
        low_utd = min(d.range[0] for d in laws.data)
        high_utd = max(d.range[1] for d in laws.data)
        x_limits = (float(budgets.min() / 1.6), float(budgets.max() * 3))
        drawn = [np.array([e for p in law.points for e in (p.utd.value, p.utd.low, p.utd.high)])]
        if law.fitted:
            drawn.append(_draw_law(axes, law, budgets, x_limits))
        colours = style.threshold_colours(len(law.points))
        for point, colour in zip(law.points, colours, strict=True):
            x, y = point.budget, point.utd
            axes.plot([x.value, x.value], [y.low, y.high], color=colour, linewidth=0.9, zorder=4)
            axes.plot([x.low, x.high], [y.value, y.value], color=colour, linewidth=0.9, zorder=4)
            face = "white" if point.at_edge else colour
            axes.plot([x.value], [y.value], linestyle="none", marker="o", color=colour, markerfacecolor=face, markersize=5.5, zorder=5)
        y_limits = limits(*drawn, margin=1.5)
        y_limits = max(y_limits[0], low_utd / 6), min(y_limits[1], high_utd * 6)
        rising = not law.fitted or law.exponent > 0
        # each name on the side where the law is far from it
        for end, edge, right in (("smallest σ run", low_utd, rising), ("largest σ run", high_utd, not rising)):
            if y_limits[0] < edge < y_limits[1]:
                axes.axhline(edge, color=style.FAINT, linewidth=0.9, linestyle=":", zorder=1)
                place, side = (0.99, "right") if right else (0.01, "left")
                axes.text(place, edge, end, transform=axes.get_yaxis_transform(), ha=side, va="bottom", fontsize=7.5, color="#555555")
        crosses = _draw_held_out(axes, law, held_out) if held_out is not None else None
        price = f"δ = {style.scientific(law.data_cost)} per env step"
        style.log_axis(axes.xaxis, *x_limits, style.scientific, f"budget F = C + δ·D ({style.unit(laws)}, {price})")
        style.utd_axis(axes.yaxis, *y_limits, "cheapest UTD ratio σ*")
        ends = [0, -1] if len(law.points) > 1 else [0]
        handles = [Line2D([], [], color=colours[i], marker="o", markersize=5.5, linewidth=0.9) for i in ends]
        labels = [f"J = {law.points[i].threshold:.4g}" + (" …" if i == 0 and len(law.points) > 2 else "") for i in ends]
        if any(point.at_edge for point in law.points):
            handles.append(Line2D([], [], color=style.FAINT, marker="o", markerfacecolor="white", markersize=5.5, linestyle="none"))
            labels.append("at an end of the σ run: not in the law")
        if law.fitted:
            handles.append(Line2D([], [], color=style.INK))
            labels.append(law.formula())
        if crosses is not None:
            handles.append(crosses)
            labels.append("predicted, fitted without them")
        style.legend_below(figure, handles, labels)
    return figure


def _draw_held_out(axes: Axes, law: BudgetLaw, held_out: HeldOutBudget) -> Line2D:
    """Crosses where the law, fitted without these points, puts σ*."""
    budgets = {point.threshold: point.budget.value for point in law.points}
    x = [budgets[threshold] for threshold in held_out.thresholds]
    (crosses,) = axes.plot(
        x, held_out.predicted, linestyle="none", marker="x", color=style.INK, markersize=7, markeredgewidth=1.6, zorder=7
    )
    return crosses


def _draw_law(axes: Axes, law: BudgetLaw, budgets: np.ndarray, x_limits: tuple[float, float]) -> np.ndarray:
    grid = np.exp(np.linspace(np.log(x_limits[0]), np.log(x_limits[1]), 120))
    line = np.array([law.predict(float(f)) for f in grid])
    low, high = interval(np.stack([law.predict_draws(float(f)) for f in grid], axis=1))
    axes.fill_between(grid, low, high, color=style.INK, alpha=0.1, linewidth=0, zorder=1)
    inside = (grid >= budgets.min() * 0.999) & (grid <= budgets.max() * 1.001)
    axes.plot(grid, line, color=style.INK, linestyle=(0, (3, 2)), linewidth=1.1, zorder=2)
    axes.plot(grid[inside], line[inside], color=style.INK, zorder=3)
    return line
