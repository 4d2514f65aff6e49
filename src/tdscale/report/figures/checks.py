"""What the law predicted for runs it had not seen, and how constant hyperparameters did (the paper's Figure 6)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tdscale.report import style
from tdscale.report.figures.parts import limits
from tdscale.validation import PREDICTORS, HeldOut, Validation

_SHADES = {"law": "#0072B2", "power law": "#56B4E9", "nearest σ": "#E69F00", "constant": "#999999"}


def validation_figure(validation: Validation) -> Figure | None:
    """Held-out errors by predictor, and D of constant over D of fitted hyperparameters. None where nothing was checked."""
    held_out = [h for h in validation.held_out if any(np.isfinite(v) for v in h.errors.values())]
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


def held_out_figure(held_out: Sequence[HeldOut], *, axes: Axes | None = None) -> Figure:
    """By what factor each predictor missed the domain's D at the σ left out, as bars."""
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        ticks: list[float] = []
        names: list[str] = []
        place = 0.0
        longest = max(np.exp(v) - 1 for h in held_out for v in h.errors.values() if np.isfinite(v))
        for held in held_out:
            utds = ", ".join(style.plain_utd(u) for u in held.utd)
            axes.text(0.02 * longest, place, f"σ = {utds} left out", fontsize=8.5, va="center", ha="left")
            place += 1
            for predictor in PREDICTORS:
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
