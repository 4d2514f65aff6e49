"""D_J(σ) and C_J(σ), law, points and intervals, for the domain or one task (the paper's Figure 2)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style
from tdscale.report.figures.parts import (
    Floats,
    beside,
    censored_points,
    has_compute,
    limits,
    line_and_band,
    mean_over_tasks,
    points_with_intervals,
    reach_grid,
)

Need = Literal["data", "compute"]


def data_figure(laws: ScalingLaws, *, task: str | None = None, axes: Axes | None = None) -> Figure | None:
    """D_J(σ) of a task, or (None) of the domain with every task's points shifted onto the shared law. None without a law.

    Of more than `style.MOST_TASKS` tasks their mean is shown.
    """
    return _one(laws, "data", task, axes)


def compute_figure(laws: ScalingLaws, *, task: str | None = None, axes: Axes | None = None) -> Figure | None:
    """C_J(σ) = B*(σ)·σ·D_J(σ) times the FLOPs per transition (equation 4.2), as `data_figure`. None where compute is not known."""
    return _one(laws, "compute", task, axes)


def data_by_task_figure(laws: ScalingLaws) -> Figure | None:
    """D_J(σ), a panel for each of up to `style.MOST_TASKS` tasks. None with fewer than two tasks that have data."""
    return _by_task(laws, "data")


def compute_by_task_figure(laws: ScalingLaws) -> Figure | None:
    """C_J(σ), a panel for each of up to `style.MOST_TASKS` tasks. None with fewer than two tasks that have data, or without compute."""
    return _by_task(laws, "compute")


def tasks_with_data(laws: ScalingLaws) -> list[str]:
    """Tasks that reach some threshold that has a law."""
    return [task for row, task in enumerate(laws.tasks) if any(np.isfinite(law.data[row]).any() for law in laws.data)]


def _known(laws: ScalingLaws, need: Need) -> bool:
    return bool(laws.data) and (need == "data" or has_compute(laws))


def _one(laws: ScalingLaws, need: Need, task: str | None, axes: Axes | None) -> Figure | None:
    tasks = tasks_with_data(laws)
    if not _known(laws, need) or not tasks or (task is not None and task not in tasks):
        return None
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        shown = _draw(axes, laws, need, task)
        handles, labels = _legend(laws, shown, tasks if task is None else [])
        style.legend_below(figure, handles, labels)
    return figure


def _by_task(laws: ScalingLaws, need: Need) -> Figure | None:
    tasks = tasks_with_data(laws)
    if not _known(laws, need) or len(tasks) < 2:
        return None
    shown_tasks = style.select(tasks, style.MOST_TASKS)
    with style.styled():
        figure, all_axes = style.panels(len(shown_tasks), columns=2 if len(shown_tasks) <= 4 else 3)
        style.some_tasks(figure, shown_tasks, tasks)
        for axes, task in zip(all_axes, shown_tasks, strict=True):
            _draw(axes, laws, need, task, size=3.8)
            axes.set_title(style.label(task), loc="left")
        handles, labels = _legend(laws, style.select(laws.data), [])
        style.legend_below(figure, handles, labels)
    return figure


def _draw(axes: Axes, laws: ScalingLaws, need: Need, task: str | None, size: float = 4.5) -> list[DataLaw]:
    """The laws of up to four thresholds in one panel; returns those that are drawn."""
    shown: list[DataLaw] = style.select(laws.data)
    if task is not None:
        row = laws.tasks.index(task)
        shown = [law for law in shown if np.isfinite(law.data[row]).any()] or [
            law for law in laws.data if np.isfinite(law.data[row]).any()
        ][-1:]
    colours = dict(
        zip((law.threshold for law in style.select(laws.data)), style.threshold_colours(len(style.select(laws.data))), strict=True)
    )
    drawn: list[Floats] = []
    ends: list[tuple[float, float]] = []
    for law in shown:
        colour = colours.get(law.threshold, style.INK)
        seen = law.range
        utd = reach_grid(*seen)
        convert, measured = _converter(laws, need, task), _converter(laws, need, task, as_run=laws.method.points_as_run)
        y = convert(utd, law.predict(utd, task))
        line_and_band(axes, utd, y, convert(utd, law.predict_draws(utd, task)), seen, colour)
        drawn.append(y)
        ends.append((float(utd[0]), float(utd[-1])))
        if task is None and len(law.tasks) > style.MOST_TASKS:
            at, mean = mean_over_tasks(law)
            points, blank = measured(at, mean), np.full(len(mean), np.nan)
            points_with_intervals(axes, at, points, blank, blank, colour=colour, size=size)
            drawn.append(points)
            continue
        for place, name in enumerate(law.tasks):
            if task is not None and name != task:
                continue
            scale = float(law.predict([1.0], task)[0] / law.predict([1.0], name)[0])
            if not np.isfinite(scale):
                continue
            x = law.utd
            low, high, data, bound = (
                measured(x, values * scale) for values in (law.data_low[place], law.data_high[place], law.data[place], law.bound[place])
            )
            drawn_at = x if task is not None else beside(x, place, len(law.tasks))
            marker = style.marker_of(law.tasks, name) if task is None and len(law.tasks) > 1 else "o"
            points_with_intervals(
                axes, drawn_at, data, low, high, colour=colour, marker=marker, size=size, faint=task is None and len(law.tasks) > 1
            )
            above = np.isposinf(law.data[place])
            censored_points(axes, drawn_at[above], bound[above], colour=colour)
            # an interval is shown to its end unless that would shrink all else
            top_of_bars = np.minimum(high, 2.5 * np.max(data, where=np.isfinite(data), initial=0.0))
            drawn += [data, low, top_of_bars, bound[above] * 1.2]
    style.utd_axis(axes.xaxis, min(e[0] for e in ends), max(e[1] for e in ends), style.UTD_LABEL)
    if need == "data":
        style.log_axis(axes.yaxis, *limits(*drawn), style.thousands, style.DATA_LABEL)
    else:
        style.log_axis(axes.yaxis, *limits(*drawn), style.scientific, f"compute C until J ({style.unit(laws)})")
    return shown


def _converter(laws: ScalingLaws, need: Need, task: str | None, *, as_run: bool = False) -> Callable[[Floats, Floats], Floats]:
    if need == "data":
        return lambda _utd, data: data
    return lambda utd, data: laws.compute_for(utd, data, task, as_run=as_run)


def _legend(laws: ScalingLaws, shown: Sequence[DataLaw], tasks: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Thresholds by colour; tasks, where several share a panel, by marker; arrows where there are any."""
    reference = [law.threshold for law in style.select(laws.data)]
    colours = style.threshold_colours(len(reference))
    handles: list[Any] = []
    labels: list[str] = []
    for law in shown:
        colour = colours[reference.index(law.threshold)] if law.threshold in reference else style.INK
        handles.append(Line2D([], [], color=colour))
        labels.append(f"J = {law.threshold:.4g}")
    many = len(tasks) > style.MOST_TASKS
    if many:
        handles.append(Line2D([], [], color=style.FAINT, linestyle="none", marker="o", markersize=4.5))
        labels.append(f"mean over {len(tasks)} tasks")
    elif len(tasks) > 1:
        handles += [
            Line2D([], [], color=style.FAINT, linestyle="none", marker=style.marker_of(laws.tasks, name), markersize=5) for name in tasks
        ]
        labels += [style.label(name) for name in tasks]
    if not many and any(np.isposinf(law.data_high).any() for law in shown):
        handles.append(Line2D([], [], color=style.FAINT, marker="^", markersize=4, linewidth=0.9))
        labels.append("arrow: D is above")
    return handles, labels
