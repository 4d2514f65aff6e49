"""Validation TD error against B, a line for each model size (METHOD.md, section 7)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tdscale.report import style
from tdscale.report.figures.parts import beside, limits
from tdscale.report.losses import SizeLoss

_MOST_TASKS = 2


def size_loss_figure(losses: Sequence[SizeLoss]) -> Figure | None:
    """A panel for each of up to two tasks: a point for each cell, brought to one σ, and the fitted line of each N. None without losses."""
    tasks = list(dict.fromkeys(one.task for one in losses))[:_MOST_TASKS]
    if not tasks:
        return None
    every = sorted({one.model_size for one in losses})
    colours = dict(zip(every, style.ordered_colours(len(every), "cividis"), strict=True))
    with style.styled():
        figure, all_axes = style.panels(len(tasks), columns=1, panel_height=3.2)
        for axes, task in zip(all_axes, tasks, strict=True):
            shown = [one for one in losses if one.task == task]
            for place, one in enumerate(shown):
                colour = colours[one.model_size]
                x = beside(one.batch_sizes, place, len(shown), 1.03)
                axes.plot(
                    x, one.loss, linestyle="none", marker=style.marker_of(every, one.model_size), color=colour, markersize=4, alpha=0.6
                )
                ends = np.array([one.batch_sizes.min(), one.batch_sizes.max()])
                axes.plot(ends, one.predict(ends), color=colour, zorder=3)
            style.utd_axis(axes.xaxis, *limits(*(one.batch_sizes for one in shown)), "batch size B (transitions)")
            style.log_axis(axes.yaxis, *limits(*(one.loss for one in shown)), style.plain, "validation TD error")
            axes.set_title(style.label(task), loc="left")
            handles = [
                Line2D([], [], color=colours[one.model_size], marker=style.marker_of(every, one.model_size), markersize=4)
                for one in reversed(shown)
            ]
            labels = [f"N = {style.thousands(one.model_size)}\n{one.slope}" for one in reversed(shown)]
            axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2, title="slope in log B")
    return figure
