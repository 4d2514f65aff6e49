"""The cheapest σ for each threshold and the law σ*(F) through them (docs/equations.md, equation 4.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fitted_laws import BudgetLaw, BudgetPoint, DataLaw

# (σ, D) → C, D of shape (..., n) with σ of shape (n,)
Compute = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, kw_only=True)
class BudgetRule:
    """How the cheapest σ is found within the σ that were run, and which thresholds the law σ*(F) is fitted to.

    Attributes:
        grid_points: of the grid of σ.
        between_grid: whether the optimum is sought between the points of the grid, too.
        use_edges: whether a threshold counts whose optimum lies at an end of the σ that were run. It is no optimum: the true
            one may lie beyond.
    """

    grid_points: int = 400
    between_grid: bool = True
    use_edges: bool = False

    def used(self, points: Sequence[BudgetPoint]) -> list[BudgetPoint]:
        """The points that the law is fitted to."""
        return [point for point in points if self.use_edges or not point.at_edge]


DEFAULT_RULE = BudgetRule()


def utd_grid(low: float, high: float, n_points: int = 400) -> Floats:
    """σ at equal steps of log σ, both ends included."""
    return np.exp(np.linspace(np.log(low), np.log(high), n_points))


def minimum_on_grid(log_x: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Minimum of each row as of a smooth function of log x: of the quartic through the best point and its two neighbours on each side.

    On 400 points over a factor of 1000 in x that is the continuous minimum to about 1e-8 in log x. A minimum at either end stays there.

    Args:
        log_x: evenly spaced, shape (n,), n ≥ 5.
        values: shape (k, n), positive.

    Returns:
        log x of the minimum, the minimum, and the index of the best grid point, each of shape (k,).
    """
    best = np.argmin(values, axis=1)
    inside = (best > 0) & (best < len(log_x) - 1)
    middle = np.clip(best, 2, len(log_x) - 3)
    rows = np.arange(len(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.stack([np.log(values[rows, middle + shift]) for shift in range(-2, 3)])
        y -= y[2]
        # the quartic's coefficients at the points −2 … 2
        c1 = (8 * (y[3] - y[1]) - (y[4] - y[0])) / 12
        c2 = (16 * (y[3] + y[1]) - (y[4] + y[0])) / 24
        c3 = ((y[4] - y[0]) - 2 * (y[3] - y[1])) / 12
        c4 = ((y[4] + y[0]) - 4 * (y[3] + y[1])) / 24
        start = (best - middle).astype(np.float64)
        at = start
        for _ in range(8):
            slope = c1 + at * (2 * c2 + at * (3 * c3 + at * 4 * c4))
            bend = 2 * c2 + at * (6 * c3 + at * 12 * c4)
            at = np.clip(at - slope / np.where(bend > 0, bend, np.inf), start - 1, start + 1)
        depth = at * (c1 + at * (c2 + at * (c3 + at * c4)))
        lower = inside & (depth <= y[best - middle + 2, rows])  # false where a kink or an infinity makes it no polynomial
    at = np.where(lower, at, start)
    lowest = np.where(lower, values[rows, middle] * np.exp(np.where(lower, depth, 0.0)), values[rows, best])
    return log_x[middle] + at * (log_x[1] - log_x[0]), lowest, best


def fit_line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Slope and intercept of the least-squares line through points of shape (n_points, k): each of shape (k,).

    Where some x of a column are infinite (budgets of draws that never reach J) the line goes through its other points; NaN if
    fewer than two are left.
    """
    known = np.isfinite(x)
    if known.all():
        centred = x - x.mean(axis=0)
        slope = (centred * y).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-12)
        return slope, y.mean(axis=0) - slope * x.mean(axis=0)
    count = known.sum(axis=0)
    lines = np.full((2, x.shape[1]), np.nan)
    for number in np.unique(count[count >= 2]):
        columns = np.flatnonzero(count == number)
        kept = known[:, columns].T  # column by column, so that each one's points stay together
        lines[:, columns] = fit_line(*(values[:, columns].T[kept].reshape(-1, number).T for values in (x, y)))
    return lines[0], lines[1]


def fit_budget_law(laws: Sequence[DataLaw], compute: Compute, data_cost: float, rule: BudgetRule = DEFAULT_RULE) -> BudgetLaw:
    """σ* and F at each threshold, and the power law through them.

    A point at the end of the σ that were run is kept and marked, also where the rule leaves it out of the law.

    Args:
        laws: data laws, thresholds rising.
        compute: C as a function of σ and D.
        data_cost: δ, in the unit of C per env step.
        rule: how the optimum is sought, and which of them count.
    """
    points = []
    for law in laws:
        grid = utd_grid(*law.range, rule.grid_points)
        data = np.concatenate([law.predict(grid)[None], law.predict_draws(grid)])
        total = compute(grid, data) + data_cost * data
        if not np.isfinite(total[0]).all():  # a law that tells no D, or no C for want of B
            continue
        log_utd, budget, best = minimum_on_grid(np.log(grid), total)
        if not rule.between_grid:
            log_utd, budget = np.log(grid)[best], total[np.arange(len(total)), best]
        utd = np.where(np.isfinite(budget), np.exp(log_utd), np.nan)  # a draw that never reaches J has no cheapest σ
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
                regret=regret_at(law, compute, data_cost, float(utd[0]), budget),
            )
        )
    used = rule.used(points)
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
    log_budget, exponent, log_coefficient, coefficient = _line_through(used)
    law_at = {law.threshold: law for law in laws}
    predicted = np.exp(log_coefficient[0] + exponent[0] * log_budget[:, 0])
    ratios = np.mean(
        [
            _excess(law_at[p.threshold], compute, data_cost, at, log_budget[i])
            for i, (p, at) in enumerate(zip(used, predicted, strict=True))
        ],
        axis=0,
    )
    return BudgetLaw(
        data_cost=data_cost,
        coefficient=float(coefficient[0]),
        exponent=float(exponent[0]),
        coefficient_draws=coefficient[1:],
        exponent_draws=exponent[1:],
        points=tuple(points),
        regret=_median_with_draws(ratios),
    )


def without_largest(law: BudgetLaw, count: int, rule: BudgetRule = DEFAULT_RULE) -> BudgetLaw:
    """The law fitted without the points of its `count` largest budgets: what it predicts for them (docs/validation.md).

    Args:
        law: whose points are fitted again; those kept are the result's points.
        count: how many to leave out, ≥ 0.
        rule: which points count, as in `fit_budget_law`.

    Raises:
        ValueError: if fewer than two points are left.
    """
    points = sorted(rule.used(law.points), key=lambda p: p.budget.value)
    kept = tuple(points[: len(points) - count])
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} of {len(points)} points left: a law σ*(F) needs two")
    _, exponent, _, coefficient = _line_through(kept)
    return BudgetLaw(
        data_cost=law.data_cost,
        coefficient=float(coefficient[0]),
        exponent=float(exponent[0]),
        coefficient_draws=coefficient[1:],
        exponent_draws=exponent[1:],
        points=kept,
    )


def held_out_laws(law: BudgetLaw, rule: BudgetRule) -> list[tuple[int, BudgetLaw]]:
    """How many of the largest budgets were left out (1, then 2) and the law without them, where two points are left."""
    count = len(rule.used(law.points))
    return [(left_out, without_largest(law, left_out, rule)) for left_out in (1, 2) if count - left_out >= 2]


def _line_through(points: Sequence[BudgetPoint]) -> tuple[Floats, Floats, Floats, Floats]:
    """log F, shape (n_points, 1 + n_draws); exponent, log coefficient and coefficient of the line of log σ* over it, each (1 + n_draws,).

    F is infinite where a draw never reaches a threshold: the line goes through those that it reaches, NaN with fewer than two.
    """
    log_budget = np.log(np.array([[p.budget.value, *p.budget_draws] for p in points]))
    log_utd = np.log(np.array([[p.utd.value, *p.utd_draws] for p in points]))
    with np.errstate(invalid="ignore", over="ignore"):  # budgets that hardly differ make the line nearly upright
        exponent, log_coefficient = fit_line(log_budget, log_utd)
        return log_budget, exponent, log_coefficient, np.exp(log_coefficient)


def regret_at(law: DataLaw, compute: Compute, data_cost: float, utd: float, least: Floats, task: str | None = None) -> Estimate:
    """How much more than its own least budget each draw pays at one σ, as a share: F(σ)/min F − 1; the value is the draws' median.

    Args:
        law: whose D it is.
        compute: as for `fit_budget_law`.
        data_cost: δ.
        utd: σ.
        least: min F of the point estimate and of every draw, shape (1 + n_draws,). Without draws the answer is NaN.
        task: None for the domain.
    """
    if len(least) == 1:  # a published law has no draws to tell it by
        return Estimate(float("nan"), float("nan"), float("nan"))
    return _median_with_draws(_excess(law, compute, data_cost, utd, np.log(least), task))


def _median_with_draws(excess: Floats) -> Estimate:
    known = excess[~np.isnan(excess)]
    return Estimate.from_draws(float(np.median(known)) if known.size else float("nan"), known)


def regret_in_words(regret: Estimate) -> str:
    """What an uncertain σ* costs, and whether that matters."""
    cost = f"{regret.value:.1%} of F ({regret.level:.0%} interval up to {regret.high:.1%})"
    if regret.high <= 0.1:
        return f"the optimum is flat: that σ* is uncertain costs {cost}"
    return f"σ* matters: that it is uncertain costs {cost}; more runs would settle it"


def _excess(law: DataLaw, compute: Compute, data_cost: float, utd: float, log_least: Floats, task: str | None = None) -> Floats:
    """F(σ)/min F − 1 of each draw, NaN where the draw never reaches J; of the point estimate where there are no draws."""
    at = np.array([utd])
    data = law.predict_draws(at, task) if len(log_least) > 1 else law.predict(at, task)[None]
    total = (compute(at, data) + data_cost * data)[:, 0]
    with np.errstate(invalid="ignore"):
        return np.maximum(total / np.exp(log_least[-len(total) :]) - 1, 0.0)
