"""How a sweep was chosen: the response surface with the cells that were run, and the regret that was left after each round."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from tdscale.design.records import Regret, RoundRecord
from tdscale.report import style
from tdscale.report.figures.parts import limits
from tdscale.report.surfaces import Surface

_MORE_DATA = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)  # shares above the least data at which the shades change
_MOST_TASKS, _MOST_UTD = 8, 6
_LAW, _BEST = style.TASK_COLOURS[1], style.TASK_COLOURS[3]


def surface_figure(surfaces: Sequence[Surface]) -> Figure | None:
    """Data above the least over B and η, a panel for each task (rows) and σ (columns), with the cells that were run.

    A cell's number is the round that asked for it first; without rounds it has none. An open one stopped before it reached the return.
    At most eight tasks and six σ are drawn. None without a surface.
    """
    if not any(surface.rise is not None for surface in surfaces):
        return None
    tasks = style.select(list(dict.fromkeys(surface.task for surface in surfaces)), _MOST_TASKS)
    utds = style.select(sorted({surface.utd for surface in surfaces}), _MOST_UTD)
    by_place = {(surface.task, surface.utd): surface for surface in surfaces}
    numbered = any(surface.rounds.any() for surface in surfaces)
    with style.styled():
        height = 1.5 if len(utds) > 3 else 2.1
        figure = style.new_figure((style.WIDE, height * len(tasks) + 1.5))
        for row, task in enumerate(tasks):
            for column, utd in enumerate(utds):
                surface = by_place.get((task, utd))
                axes = figure.add_subplot(len(tasks), len(utds), row * len(utds) + column + 1)
                if surface is None:
                    axes.set_axis_off()
                    continue
                _panel(axes, surface, small=len(utds) > 4)
                _name(axes, row, column, task, utd, len(tasks))
        _shade_bar(figure)
        _legend(figure, numbered=numbered, open_ones=any((~surface.reached).any() for surface in surfaces))
    return figure


def _shades() -> list[tuple[float, float, float, float]]:
    """From pale to dark, one for each step of `_MORE_DATA` and one beyond."""
    return [colormaps["Blues"](float(place)) for place in np.linspace(0.02, 0.8, len(_MORE_DATA))]


def _panel(axes: Axes, surface: Surface, *, small: bool) -> None:
    x, y = surface.batch_sizes, surface.learning_rates
    if surface.rise is not None:
        axes.contourf(x, y, surface.rise, levels=np.log1p([*_MORE_DATA, 1e9]), colors=_shades(), zorder=0)
    axes.grid(visible=False)
    style.log_axis(axes.xaxis, x[0], x[-1], style.plain, most=3)
    style.log_axis(axes.yaxis, y[0], y[-1], style.scientific, most=3)
    axes.tick_params(labelsize=6.5 if small else 7.5, length=2)
    size = 8.5 if small else 9.5
    for (batch, rate), reached, number in zip(surface.cells, surface.reached, surface.rounds, strict=True):
        face, ink, edge = (style.INK, "white", "white") if reached else ("white", style.INK, style.INK)
        drawn = size if number else size / 2
        axes.plot(batch, rate, "o", markersize=drawn, color=face, markeredgecolor=edge, markeredgewidth=0.5)
        if number:
            axes.text(batch, rate, f"{number:.0f}", color=ink, fontsize=size * 0.68, ha="center", va="center_baseline", zorder=6)
    if surface.law is not None:
        law_batch, law_rate = surface.law
        axes.plot([law_batch.low, law_batch.high], [law_rate.value] * 2, color=_LAW, linewidth=1.3, zorder=4)
        axes.plot([law_batch.value] * 2, [law_rate.low, law_rate.high], color=_LAW, linewidth=1.3, zorder=4)
    if surface.best is not None:
        axes.plot(*surface.best, "*", color=_BEST, markersize=8, markeredgecolor="white", markeredgewidth=0.5, zorder=5)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])


def _name(axes: Axes, row: int, column: int, task: str, utd: float, n_tasks: int) -> None:
    if row == 0:
        axes.set_title(f"UTD ratio {style.plain_utd(utd)}", fontsize=8)
    if column:
        axes.yaxis.set_major_formatter(NullFormatter())
    else:
        axes.set_ylabel(f"{style.label(task, 22)}\nlearning rate η", fontsize=7.5)
    if row < n_tasks - 1:
        axes.xaxis.set_major_formatter(NullFormatter())
    else:
        axes.set_xlabel("batch size B", fontsize=7.5)


def _shade_bar(figure: Figure) -> None:
    """What the shades mean, below the panels."""
    *inside, beyond = _shades()
    norm = BoundaryNorm([100 * share for share in _MORE_DATA], len(inside))
    palette = ListedColormap(inside).with_extremes(over=beyond)
    bar = figure.colorbar(
        ScalarMappable(norm, palette), ax=figure.axes, location="bottom", extend="max", aspect=60, shrink=0.7, spacing="uniform", pad=0.02
    )
    bar.set_ticks([100 * share for share in _MORE_DATA], labels=[f"{share:.0%}".replace("%", " %") for share in _MORE_DATA])
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.set_label("more data than at the best B and η", fontsize=8)


def _legend(figure: Figure, *, numbered: bool, open_ones: bool) -> None:
    marks = [
        Line2D([], [], linestyle="none", marker="o", color=style.INK, markersize=6),
        Line2D([], [], linestyle="none", marker="o", color="white", markeredgecolor=style.INK, markersize=6),
        Line2D([], [], linestyle="none", marker="+", color=_LAW, markersize=9, markeredgewidth=1.3),
        Line2D([], [], linestyle="none", marker="*", color=_BEST, markersize=8),
    ]
    names = [
        "cell, with its first round" if numbered else "cell",
        "stopped before the return was reached",
        "B*, η* by the laws, 80 % interval",
        "best of this task and σ alone",
    ]
    kept = [index for index in range(4) if index != 1 or open_ones]
    style.legend_below(figure, [marks[index] for index in kept], [names[index] for index in kept], columns=2)


def regret_figure(
    rounds: Sequence[RoundRecord], spent: float, regret: Regret | None, goal: float, *, axes: Axes | None = None
) -> Figure | None:
    """Expected regret with its 80 % bound against env steps, a point before each round and one at the end; None where it is never known.

    Args:
        rounds: in order.
        spent: env steps of all of them.
        regret: after the last.
        goal: at which the sweep ends.
        axes: to draw into.
    """
    known = [(record.spent, record.regret) for record in rounds if record.regret is not None]
    known += [(spent, regret)] if regret is not None else []
    if not known:
        return None
    numbers = [record.number - 1 for record in rounds if record.regret is not None] + [len(rounds)] * (regret is not None)
    x = np.array([steps for steps, _ in known])
    mean, bound = (np.array([getattr(one, name) for _, one in known]) for name in ("expected", "bound"))
    with style.styled():
        figure, axes = style.figure_and_axes(axes)
        colour = style.TASK_COLOURS[0]
        axes.vlines(x, mean, bound, color=colour, linewidth=1.0, alpha=0.6)
        axes.plot(x, bound, linestyle="none", marker="_", color=colour, markersize=7, alpha=0.6)
        axes.plot(x, mean, color=colour, marker="o", markersize=5)
        axes.axhline(goal, color=style.TASK_COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.2)
        shown = set(style.select(range(len(known)), 10))
        for index, number in enumerate(numbers):
            if index in shown:
                axes.annotate(str(number), (x[index], mean[index]), xytext=(6, 3), textcoords="offset points", fontsize=7.5)
        axes.set_xlim(0, 1.06 * max(float(x.max()), 1.0))
        style.env_steps_axis(axes.xaxis)
        axes.set_xlabel("env steps of stage 1")
        style.log_axis(axes.yaxis, *limits(mean, bound, [goal], margin=1.35), style.plain, "expected regret (log D above the best)")
        handles = [
            Line2D([], [], color=colour, marker="o", markersize=5),
            Line2D([], [], color=colour, marker="_", markersize=7, linewidth=1.0, alpha=0.6),
            Line2D([], [], color=style.TASK_COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.2),
        ]
        labels = ["after so many rounds", "80 % chance that it is below", f"the sweep ends below {goal:g}"]
        style.legend_below(figure, handles, labels)
    return figure
