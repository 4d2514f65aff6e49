"""B*(σ) and η*(σ), all tasks shifted to one intercept, and best B against best η (the paper's Figure 5)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.fitted_laws import NOT_OPTIMISED, PowerLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.figures.parts import beside, limits, line_and_band, points_with_intervals, reach_grid

_NAMES = {"batch_size": "batch size B* (transitions)", "learning_rate": "learning rate η*"}


def hyperparameter_figure(laws: ScalingLaws) -> Figure | None:
    """B*(σ) and η*(σ) side by side. None where neither is known."""
    found = [law for law in (laws.batch_size, laws.learning_rate) if law is not None and np.isfinite(law.points).any()]
    if not found:
        return None
    with style.styled():
        figure, all_axes = style.panels(len(found), panel_height=3.2)
        for axes, law in zip(all_axes, found, strict=True):
            power_law_figure(law, axes=axes)
        tasks = [task for row, task in enumerate(found[0].tasks) if any(np.isfinite(law.points[row]).any() for law in found)]
        if len(laws.tasks) > style.MOST_TASKS:  # one colour for all
            handles, labels = [Line2D([], [], color=style.FAINT, marker="o", linewidth=0.9, markersize=4)], [f"each of {len(tasks)} tasks"]
        else:
            handles = [
                Line2D([], [], color=style.colour_of(laws.tasks, t), marker=style.marker_of(laws.tasks, t), linewidth=0.9, markersize=5)
                for t in tasks
            ]
            labels = [style.label(t) for t in tasks]
        style.legend_below(figure, handles, labels)
    return figure


def power_law_figure(law: PowerLaw, *, axes: Axes | None = None) -> Figure:
    """One of the two laws: points with their intervals, each task divided by its value at σ = 1 and multiplied by the tasks' mean."""
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        known = law.utd[np.isfinite(law.points).any(axis=0)]
        seen = (float(known.min()), float(known.max()))
        utd = reach_grid(*seen)
        y = law.predict(utd)
        line_and_band(axes, utd, y, law.predict_draws(utd), seen, style.INK)
        mean = float(law.predict([1.0])[0])
        drawn = [y]
        for row, task in enumerate(law.tasks):
            scale = mean / float(law.predict([1.0], task)[0])
            if not np.isfinite(scale):
                continue
            many = len(law.tasks) > style.MOST_TASKS
            x = beside(law.utd, row, len(law.tasks), 1.003 if many else 1.025)
            points, low, high = (values[row] * scale for values in (law.points, law.points_low, law.points_high))
            points_with_intervals(
                axes,
                x,
                points,
                low,
                high,
                colour=style.FAINT if many else style.colour_of(law.tasks, task),
                marker="o" if many else style.marker_of(law.tasks, task),
                size=3 if many else 4.5,
                faint=many,
            )
            drawn += [points, low, high]
        bottom, top = limits(*drawn, margin=1.3)
        label = _NAMES[law.quantity] + (", tasks shifted" if len(law.tasks) > 1 else "")
        style.utd_axis(axes.xaxis, utd[0], utd[-1], style.UTD_LABEL)
        if law.quantity == "batch_size" and top / bottom > 4:
            style.utd_axis(axes.yaxis, bottom, top, label)
        else:
            style.log_axis(axes.yaxis, bottom, top, style.plain if law.quantity == "batch_size" else style.scientific, label)
        source = {"sweep": "", "as-run": f" ({NOT_OPTIMISED})", "published": " (published)"}[law.source]
        axes.set_title(style.raised(law.formula()) + source, loc="left").set_parse_math(True)
    return figure


def best_pairs_figure(laws: ScalingLaws, *, axes: Axes | None = None) -> Figure | None:
    """Best B against best η, a point for each (task, σ), with the correlation of their logarithms.

    None unless a sweep chose both.
    """
    batch, rate = laws.batch_size, laws.learning_rate
    if batch is None or rate is None or batch.source != "sweep" or rate.source != "sweep" or batch.points.shape != rate.points.shape:
        return None
    known = np.isfinite(batch.points) & np.isfinite(rate.points)
    if known.sum() < 3:
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        for row, task in enumerate(laws.tasks):
            use = known[row]
            colour = style.colour_of(laws.tasks, task)
            x, y = batch.points[row, use], rate.points[row, use]
            axes.hlines(y, batch.points_low[row, use], batch.points_high[row, use], color=colour, linewidth=0.6, alpha=0.45)
            axes.vlines(x, rate.points_low[row, use], rate.points_high[row, use], color=colour, linewidth=0.6, alpha=0.45)
            axes.plot(
                x, y, linestyle="none", color=colour, marker=style.marker_of(laws.tasks, task), markersize=5.5, label=style.label(task)
            )
        style.log_axis(axes.xaxis, *limits(batch.points[known], margin=1.6), style.plain, "best batch size B*")
        style.log_axis(axes.yaxis, *limits(rate.points[known], margin=1.6), style.scientific, "best learning rate η*")
        found = pair_correlation(batch, rate)
        found_text = "no correlation, for one is the same everywhere" if np.isnan(found) else f"correlation {found:.2f}".replace("-", "−")
        axes.set_title(f"log B* and log η*: {found_text}", loc="left")
        handles, labels = axes.get_legend_handles_labels()
        if len(labels) <= style.MOST_TASKS:
            style.legend_below(figure, handles, labels)
    return figure


def pair_correlation(batch: PowerLaw, rate: PowerLaw) -> float:
    """Correlation of log B* and log η* over tasks and σ, where both are known; NaN where one of them is the same everywhere."""
    known = np.isfinite(batch.points) & np.isfinite(rate.points)
    x, y = np.log(batch.points[known]), np.log(rate.points[known])
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else float("nan")
