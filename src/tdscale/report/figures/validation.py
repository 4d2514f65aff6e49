"""Laws against runs that they were not fitted to: frontiers beyond the σ fitted, errors by predictor (the paper's Figure 6; 1, left)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from tdscale.analysis.budget import utd_grid
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.evidence import Extrapolation, HyperparameterComparison
from tdscale.report.figures.parts import (
    Floats,
    has_compute,
    interval,
    limits,
    line_and_band,
    mean_over_tasks,
    points_with_intervals,
    reach_grid,
    tradeoff_axes,
)
from tdscale.validation import PREDICTORS, SIZE_PREDICTORS, HeldOut, HeldOutSize, Validation

_SHADES = {"law": "#0072B2", "power law": "#56B4E9", "nearest σ": "#E69F00", "constant": "#999999"}
_SHADES |= {"sum": "#009E73", "product": "#8FCFB8", "nearest": "#E69F00"}
_FITTED, _LEFT_OUT = style.TASK_COLOURS[0], style.TASK_COLOURS[1]


def pareto_figure(laws: ScalingLaws, *, axes: Axes | None = None) -> Figure | None:
    """The compute–data frontier of the highest J that has a law, with its interval and the tasks' mean at each σ. None without compute."""
    if not has_compute(laws):
        return None
    law = laws.data[-1]
    low, high = law.range
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        x_limits, y_limits = _frontier(axes, laws, law, law, reach_grid(low, high), (low, high), np.zeros(0))
        tradeoff_axes(axes, laws, x_limits, y_limits)
        axes.set_title(f"J = {law.threshold:.4g}", loc="left")
    return figure


def extrapolation_figure(
    laws: ScalingLaws, extrapolations: Sequence[Extrapolation], comparison: HyperparameterComparison | None = None
) -> Figure | None:
    """Frontiers predicted without the σ at one end against what was measured there, and D of fitted against constant B, η.

    A panel for each; None where there is nothing to compare, or compute is not known.
    """
    shown = list(extrapolations) if has_compute(laws) else []
    count = len(shown) + (comparison is not None)
    if not count:
        return None
    with style.styled():
        figure, all_axes = style.panels(count, columns=3, panel_height=3.0, width=9.6 if count > 2 else style.WIDE)
        for axes, found in zip(all_axes, shown, strict=False):
            seen = found.law.utd
            together = np.concatenate([seen, found.left_out])
            grid = utd_grid(float(together.min()), float(together.max()), 160)
            x_limits, y_limits = _frontier(
                axes, laws, found.law, found.measured, grid, (float(seen.min()), float(seen.max())), found.left_out
            )
            tradeoff_axes(axes, laws, x_limits, y_limits, most=3)
            utds = ", ".join(style.plain_utd(u) for u in found.left_out)
            axes.set_title(f"σ = {utds} left out, J = {found.law.threshold:.4g}", loc="left", fontsize=8.5)
        if comparison is not None:
            _draw_comparison(all_axes[-1], comparison)
        handles, labels = [], []
        if shown:
            handles += [Line2D([], [], color=_FITTED, marker="o", markersize=5), _cross()]
            labels += ["law, and runs it was fitted to", "runs left out"]
        if comparison is not None:
            handles += [Line2D([], [], color=colour, marker=marker, markersize=5) for colour, marker in _KINDS]
            labels += ["B*(σ), η*(σ)", "constant B, η"]
        style.legend_below(figure, handles, labels)
    return figure


_KINDS = ((style.TASK_COLOURS[2], "o"), (style.TASK_COLOURS[4], "s"))


def _cross() -> Line2D:
    return Line2D([], [], color=_LEFT_OUT, linestyle="none", marker="X", markersize=7)


def _frontier(
    axes: Axes, laws: ScalingLaws, law: DataLaw, measured: DataLaw, grid: Floats, seen: tuple[float, float], left_out: Floats
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The law as a frontier, solid at the σ seen, and the measured means; the axes' limits."""
    data = law.predict(grid)
    compute = laws.compute_for(grid, data)
    inside = (grid >= seen[0] * 0.999) & (grid <= seen[1] * 1.001)
    axes.plot(compute, data, color=_FITTED, linestyle=(0, (3, 2)), linewidth=1.1, zorder=3)
    axes.plot(compute[inside], data[inside], color=_FITTED, zorder=3)
    utd, mean = mean_over_tasks(law, measured)
    at = laws.compute_for(utd, mean)
    out = np.isin(utd, left_out)
    axes.plot(at[~out], mean[~out], linestyle="none", marker="o", color=_FITTED, markersize=5.5, markeredgecolor="white", zorder=5)
    axes.plot(at[out], mean[out], linestyle="none", marker="X", color=_LEFT_OUT, markersize=8, markeredgecolor="white", zorder=6)
    _intervals(axes, laws, law, utd)
    place = np.log(np.maximum(np.stack([at, mean]), 1e-300))  # C is 0 where warm-up alone reaches J
    for index, (x, y, value) in enumerate(zip(at, mean, utd, strict=True)):
        # a name that would lie on the last one's is left out
        if index and np.abs(place[:, index] - place[:, index - 1]).max() < 0.08:
            continue
        label = axes.annotate(f"σ = {style.plain_utd(value)}", (x, y), xytext=(7, -8), textcoords="offset points", fontsize=7, zorder=7)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    x_limits, y_limits = limits(compute, at, margin=1.25), limits(data, mean, margin=1.25)
    return (x_limits[0], x_limits[1] * 1.25), y_limits


def _intervals(axes: Axes, laws: ScalingLaws, law: DataLaw, utd: Floats) -> None:
    """The law's interval at each σ: a slanted bar, since at a given σ compute goes with data."""
    lows, highs = interval(law.predict_draws(utd))
    for value, low, high in zip(utd, lows, highs, strict=True):
        if np.isfinite([low, high]).all():
            ends = np.array([low, high])
            axes.plot(
                laws.compute_for(np.array([value, value]), ends),
                ends,
                color=_FITTED,
                linewidth=5,
                alpha=0.22,
                solid_capstyle="butt",
                zorder=2,
            )


def _draw_comparison(axes: Axes, comparison: HyperparameterComparison) -> None:
    """D against σ at fitted and at constant B, η, each with the law through it."""
    drawn: list[Floats] = []
    low, high = comparison.fitted.range
    for place, (law, (colour, marker)) in enumerate(zip((comparison.fitted, comparison.constant), _KINDS, strict=True)):
        grid = utd_grid(low, high, 120)
        line_and_band(axes, grid, law.predict(grid), law.predict_draws(grid), (low, high), colour)
        utd, mean = mean_over_tasks(law)
        blank = np.full(len(mean), np.nan)
        points_with_intervals(axes, utd * 1.02 ** (2 * place - 1), mean, blank, blank, colour=colour, marker=marker, size=5.5)
        drawn += [law.predict(grid), mean, *interval(law.predict_draws(grid))]
    style.utd_axis(axes.xaxis, low / 1.2, high * 1.2, "UTD ratio σ")
    style.log_axis(axes.yaxis, *limits(*drawn, margin=1.15), style.thousands, style.DATA_LABEL)
    axes.set_title(f"fitted against constant B, η, J = {comparison.fitted.threshold:.4g}", loc="left", fontsize=8.5)


def validation_figure(validation: Validation) -> Figure | None:
    """Held-out errors by predictor, and D of constant over D of fitted hyperparameters. None where nothing was checked."""
    every: list[HeldOut | HeldOutSize] = [*validation.held_out, *(h for h in validation.sizes if h.place == "end")]
    held_out = [h for h in every if any(np.isfinite(v) for v in h.errors.values())]
    count = bool(held_out) + (len(validation.baseline) > 1)
    if not count:
        return None
    with style.styled():
        figure, all_axes = style.panels(count, panel_height=max(2.8, 0.85 * len(held_out)))
        if held_out:
            held_out_figure(held_out, axes=all_axes[0])
        if len(validation.baseline) > 1:
            baseline_figure(validation.baseline, axes=all_axes[-1])
    return figure


def held_out_figure(held_out: Sequence[HeldOut | HeldOutSize], *, axes: Axes | None = None) -> Figure:
    """By what factor each predictor missed the domain's D at the σ, or σ and N, left out, as bars."""
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        ticks: list[float] = []
        names: list[str] = []
        place = 0.0
        longest = max(np.exp(v) - 1 for h in held_out for v in h.errors.values() if np.isfinite(v))
        for held in held_out:
            left_out = f"σ = {', '.join(style.plain_utd(u) for u in held.utd)}" if isinstance(held, HeldOut) else held.name
            axes.text(0.02 * longest, place, f"{left_out} left out", fontsize=8.5, va="center", ha="left")
            place += 1
            for predictor in PREDICTORS if isinstance(held, HeldOut) else SIZE_PREDICTORS:
                error = held.errors.get(predictor, float("nan"))
                if not np.isfinite(error):
                    continue
                miss = float(np.exp(error) - 1)
                axes.barh(place, miss, height=0.78, color=_SHADES[predictor], zorder=3)
                axes.text(miss + 0.02 * longest, place, f"×{1 + miss:.2f}", va="center", ha="left", fontsize=7.5)
                ticks.append(place)
                names.append(predictor)
                place += 1
            place += 0.4
        axes.set_yticks(ticks, names)
        axes.set_ylim(place - 0.8, -0.7)
        axes.set_xlim(0, longest * 1.18)
        axes.set_xticks([])
        axes.grid(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("D missed by this factor")
    return figure


def baseline_figure(ratios: Sequence[tuple[float, float]], *, axes: Axes | None = None) -> Figure:
    """D with B and η kept constant over D with the fitted B*(σ), η*(σ), by σ; above 1 the fitted ones need less data."""
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        utd, ratio = np.array(ratios).T
        axes.axhline(1.0, color=style.INK, linewidth=0.9, zorder=2)
        axes.vlines(utd, 1.0, ratio, color=style.TASK_COLOURS[0], linewidth=1.6, zorder=3)
        axes.plot(utd, ratio, linestyle="none", marker="o", color=style.TASK_COLOURS[0], markersize=6, zorder=4)
        style.utd_axis(axes.xaxis, *limits(utd, margin=1.4), style.UTD_LABEL)
        y_limits = limits(ratio, np.array([1.0]), margin=1.15)
        style.log_axis(axes.yaxis, *y_limits, style.plain, "D at constant B, η over D at fitted ones")
    return figure
