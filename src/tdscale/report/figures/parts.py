"""What several figures share: the σ that were run, intervals over draws, censored points."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tdscale.analysis.budget import utd_grid
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.report import style

Floats = NDArray[np.float64]
# how far beyond the σ that were run a law is drawn, dashed
REACH = 2.0


def reach_grid(low: float, high: float, n_points: int = 160) -> Floats:
    """σ from a bit below to a bit above those that were run."""
    return utd_grid(low / REACH, high * REACH, n_points)


def interval(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Central interval of draws of shape (n_draws, n): low and high of shape (n,); NaN where no draw says anything."""
    ends = (1 - level) / 2, (1 + level) / 2
    if not np.isnan(draws).any():
        return np.quantile(draws, ends[0], axis=0, method="lower"), np.quantile(draws, ends[1], axis=0, method="higher")
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    for column in range(draws.shape[1]):
        values = draws[:, column]
        values = values[~np.isnan(values)]
        if values.size:
            low[column] = np.quantile(values, ends[0], method="lower")
            high[column] = np.quantile(values, ends[1], method="higher")
    return low, high


def line_and_band(axes: Axes, x: Floats, y: Floats, draws: Floats, seen: tuple[float, float], colour: Any, *, band: bool = True) -> Any:
    """A law: solid within `seen`, dashed beyond, its interval behind it. Returns the line, for legends."""
    inside = (x >= seen[0] * 0.999) & (x <= seen[1] * 1.001)
    if band:
        low, high = interval(draws)
        top = float(np.nanmax(y)) * 1e3
        axes.fill_between(x, np.clip(low, 0, top), np.clip(high, 0, top), color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(x, y, color=colour, linestyle=(0, (3, 2)), linewidth=1.1, zorder=3)
    (line,) = axes.plot(x[inside], y[inside], color=colour, zorder=3)
    return line


def points_with_intervals(
    axes: Axes, x: Floats, y: Floats, low: Floats, high: Floats, *, colour: Any, marker: str = "o", size: float = 4.5, faint: bool = False
) -> None:
    """Points at finite y with bars from low to high; an interval without an upper end gets an arrow up."""
    use = np.isfinite(y) & np.isfinite(x)
    alpha = 0.55 if faint else 1.0
    x, y, low, high = x[use], y[use], low[use], high[use]
    low = np.where(np.isfinite(low), low, y)
    barred = np.isfinite(high) & (high > low * 1.0001)
    axes.vlines(x[barred], low[barred], high[barred], color=colour, linewidth=0.9, alpha=alpha, zorder=4)
    arrows_up(axes, x[np.isposinf(high)], y[np.isposinf(high)], low[np.isposinf(high)], colour, alpha)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=marker,
        color=colour,
        markersize=size,
        alpha=alpha,
        markeredgecolor="white",
        markeredgewidth=0.4,
        zorder=5,
    )


def censored_points(axes: Axes, x: Floats, bound: Floats, *, colour: Any, size: float = 5.0) -> None:
    """What lies above a bound: an arrow upwards from it."""
    if not len(x):
        return
    arrows_up(axes, x, bound, bound, colour, 1.0)
    axes.plot(x, bound, linestyle="none", marker="_", color=colour, markersize=size + 2, markeredgewidth=1.2, zorder=5)


def arrows_up(axes: Axes, x: Floats, y: Floats, bottom: Floats, colour: Any, alpha: float) -> None:
    """Arrows from (x, bottom) to a little above y on logarithmic axes."""
    if not len(x):
        return
    axes.vlines(x, bottom, y * 1.22, color=colour, linewidth=0.9, alpha=alpha, zorder=4)
    axes.plot(x, y * 1.22, linestyle="none", marker="^", color=colour, markersize=4, alpha=alpha, zorder=5)


def beside(x: Floats, place: int, count: int, step: float = 1.025) -> Floats:
    """x of one of several series on a logarithmic axis, a few per cent apart so that they don't lie on top of each other."""
    return np.asarray(x * step ** (place - (count - 1) / 2))


def mean_over_tasks(law: DataLaw, measured: DataLaw | None = None) -> tuple[Floats, Floats]:
    """Geometric mean over tasks of what was measured, as σ and D; the law's level stands in for a task not seen at a σ.

    `measured`: another law that holds the points; None for the law's own.
    """
    utd, data = (law.utd, law.data) if measured is None else (measured.utd, measured.data)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.stack([law.predict(utd, task) for task in law.tasks])
        excess = np.where(np.isfinite(data), np.log(data / expected), np.nan)
    seen = np.isfinite(excess)
    columns = seen.any(axis=0)
    mean = np.where(seen, excess, 0.0).sum(axis=0)[columns] / seen.sum(axis=0)[columns]
    level = np.log(expected[np.isfinite(expected).all(axis=1)]).mean(axis=0)
    return utd[columns], np.exp(level[columns] + mean)


def has_compute(laws: ScalingLaws) -> bool:
    """Whether C is known and is above 0 somewhere: where warm-up alone reaches every threshold it is not."""
    return laws.knows_compute and any(np.any(laws.compute_for(law.utd, law.predict(law.utd)) > 0) for law in laws.data)


def limits(*values: Any, margin: float = 1.25) -> tuple[float, float]:
    """Ends of a logarithmic axis that holds every finite, positive value; about 1 where there is none."""
    together = np.concatenate([np.ravel(np.asarray(v, dtype=np.float64)) for v in values])
    together = together[np.isfinite(together) & (together > 0)]
    if not together.size:
        return 1 / margin, margin
    return float(together.min() / margin), float(together.max() * margin)


def tradeoff_axes(axes: Axes, laws: ScalingLaws, x_limits: tuple[float, float], y_limits: tuple[float, float], most: int = 6) -> None:
    """Axes of a frontier: C to the right with at most so many ticks, D upwards, both logarithmic."""
    style.log_axis(axes.xaxis, *x_limits, style.scientific, f"compute C until J ({style.unit(laws)})", most)
    style.log_axis(axes.yaxis, *y_limits, style.thousands, style.DATA_LABEL)
