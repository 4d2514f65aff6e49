"""What several figures share: the σ that were run, intervals over draws, censored points."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tdscale.analysis.budget import utd_grid
from tdscale.analysis.estimate import LEVEL
from tdscale.analysis.laws import DataLaw

Floats = NDArray[np.float64]
# how far beyond the σ that were run a law is drawn, dashed
REACH = 2.0


def seen_utd(law: DataLaw) -> tuple[float, float]:
    """Smallest and largest σ at which the threshold was reached."""
    seen = law.utd[np.isfinite(law.data).any(axis=0)]
    return float(seen.min()), float(seen.max())


def reach_grid(low: float, high: float, n_points: int = 160) -> Floats:
    """σ from a bit below to a bit above those that were run."""
    return utd_grid(low / REACH, high * REACH, n_points)


def interval(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Central interval of draws of shape (n_draws, n): low and high of shape (n,); NaN where no draw says anything."""
    low, high = np.full(draws.shape[1], np.nan), np.full(draws.shape[1], np.nan)
    for column in range(draws.shape[1]):
        values = draws[:, column]
        values = values[~np.isnan(values)]
        if values.size:
            low[column] = np.quantile(values, (1 - level) / 2, method="lower")
            high[column] = np.quantile(values, (1 + level) / 2, method="higher")
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
    for xi, yi, li, hi in zip(x[use], y[use], low[use], high[use], strict=True):
        bottom = li if np.isfinite(li) else yi
        if np.isfinite(hi):
            if hi > bottom * 1.0001:
                axes.plot([xi, xi], [bottom, hi], color=colour, linewidth=0.9, alpha=alpha, zorder=4)
        elif np.isposinf(hi):
            arrow_up(axes, xi, yi, bottom, colour, alpha)
    axes.plot(x[use], y[use], linestyle="none", marker=marker, color=colour, markersize=size, alpha=alpha, markeredgecolor="white", markeredgewidth=0.4, zorder=5)


def censored_points(axes: Axes, x: Floats, bound: Floats, *, colour: Any, size: float = 5.0) -> None:
    """What lies above a bound: an arrow upwards from it."""
    for xi, bi in zip(x, bound, strict=True):
        arrow_up(axes, float(xi), float(bi), float(bi), colour, 1.0)
    axes.plot(x, bound, linestyle="none", marker="_", color=colour, markersize=size + 2, markeredgewidth=1.2, zorder=5)


def arrow_up(axes: Axes, x: float, y: float, bottom: float, colour: Any, alpha: float) -> None:
    """An arrow from (x, bottom) to a little above y on logarithmic axes."""
    tip = y * 1.22
    axes.plot([x, x], [bottom, tip], color=colour, linewidth=0.9, alpha=alpha, zorder=4)
    axes.plot([x], [tip], linestyle="none", marker="^", color=colour, markersize=4, alpha=alpha, zorder=5)


def limits(*values: Any, margin: float = 1.25) -> tuple[float, float]:
    """Ends of a logarithmic axis that holds every finite, positive value."""
    together = np.concatenate([np.ravel(np.asarray(v, dtype=np.float64)) for v in values])
    together = together[np.isfinite(together) & (together > 0)]
    return float(together.min() / margin), float(together.max() * margin)
