"""The cheapest σ for each threshold and the law σ*(F) through them (METHOD.md sections 2 and 3, equation 4.5)."""

from collections.abc import Callable, Sequence

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.laws import BudgetLaw, BudgetPoint, DataLaw

Flops = Callable[[Floats, Floats], Floats]


def utd_grid(low: float, high: float, n_points: int = 400) -> Floats:
    """σ at equal steps of log σ, both ends included."""
    return np.exp(np.linspace(np.log(low), np.log(high), n_points))


def minimum_on_grid(log_x: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Minimum of each row, refined by the parabola through the best point and its neighbours.

    Args:
        log_x: evenly spaced, shape (n,).
        values: shape (k, n), positive.

    Returns:
        log x of the minimum, the minimum, and the index of the best grid point, each of shape (k,).
    """
    best = np.argmin(values, axis=1)
    inside = (best > 0) & (best < len(log_x) - 1)
    middle = np.clip(best, 1, len(log_x) - 2)
    rows = np.arange(len(values))
    y0, y1, y2 = (np.log(values[rows, middle + shift]) for shift in (-1, 0, 1))
    bend = y0 - 2 * y1 + y2
    shift = np.where(inside & (bend > 0), 0.5 * (y0 - y2) / np.where(bend > 0, bend, 1.0), 0.0)
    lowest = np.where(inside, np.exp(y1 - 0.25 * (y0 - y2) * shift), values[rows, best])
    return log_x[best] + shift * (log_x[1] - log_x[0]), lowest, best


def fit_line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Slope and intercept of the least-squares line through points of shape (n_points, k): each of shape (k,)."""
    centred = x - x.mean(axis=0)
    slope = (centred * y).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-12)
    return slope, y.mean(axis=0) - slope * x.mean(axis=0)


def fit_budget_law(laws: Sequence[DataLaw], flops: Flops, data_cost: float, *, paper: bool = False) -> BudgetLaw:
    """σ* and F at each threshold, and the power law through them.

    The optimum is sought within the σ that were run (continuously; `paper`: on 100 points). A point at the end of that
    range is no optimum: it is kept, marked, and left out of the law, unless `paper`.

    Args:
        laws: data laws, thresholds rising.
        flops: (σ, D) → C in FLOPs, D of shape (..., n) with σ of shape (n,).
        data_cost: δ, FLOPs per env step.
    """
    points = []
    for law in laws:
        seen = law.utd[np.isfinite(law.data).any(axis=0)]
        grid = utd_grid(seen.min(), seen.max(), 100 if paper else 400)
        data = np.concatenate([law.predict(grid)[None], law.predict_draws(grid)])
        total = flops(grid, data) + data_cost * data
        log_utd, budget, best = minimum_on_grid(np.log(grid), total)
        if paper:
            log_utd, budget = np.log(grid)[best], total[np.arange(len(total)), best]
        utd = np.exp(log_utd)
        at_optimum = law.predict(utd[:1])
        points.append(
            BudgetPoint(
                threshold=law.threshold,
                budget=Estimate.from_draws(float(budget[0]), budget[1:]),
                utd=Estimate.from_draws(float(utd[0]), utd[1:]),
                data=float(at_optimum[0]),
                compute=float(budget[0] - data_cost * at_optimum[0]),
                at_edge=bool(best[0] in (0, len(grid) - 1)),
                budget_draws=budget[1:],
                utd_draws=utd[1:],
            )
        )
    used = [point for point in points if paper or not point.at_edge]
    n_draws = len(points[0].budget_draws) if points else 0
    nothing = np.full(n_draws, np.nan)
    if len(used) < 2:
        return BudgetLaw(
            data_cost=data_cost,
            coefficient=float("nan"),
            exponent=float("nan"),
            coefficient_draws=nothing,
            exponent_draws=nothing,
            points=tuple(points),
        )
    log_budget = np.log(np.array([[p.budget.value, *p.budget_draws] for p in used]))  # (n_points, 1 + n_draws)
    log_utd = np.log(np.array([[p.utd.value, *p.utd_draws] for p in used]))
    exponent, log_coefficient = fit_line(log_budget, log_utd)
    coefficient = np.exp(log_coefficient)
    return BudgetLaw(
        data_cost=data_cost,
        coefficient=float(coefficient[0]),
        exponent=float(exponent[0]),
        coefficient_draws=coefficient[1:],
        exponent_draws=exponent[1:],
        points=tuple(points),
    )
