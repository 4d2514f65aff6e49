"""σ*(F) fitted without the largest budgets and predicted there (the paper's budget extrapolation)."""

from dataclasses import dataclass

import numpy as np

from tdscale.analysis.budget import held_out_laws
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fitted_laws import BudgetLaw, BudgetPoint
from tdscale.analysis.scaling_laws import ScalingLaws


@dataclass(frozen=True, kw_only=True)
class HeldOutBudget:
    """σ*(F) fitted without the largest budgets, against the optimum there.

    Attributes:
        thresholds: J of the budgets left out.
        factor: the largest of them over the largest one used.
        predicted, seen: σ*, for each.
        error: mean |log predicted − log seen|; constant_error: the same with the last σ* used kept.
        exponent: of σ*(F), from the budgets used, with its interval.
        regret: how much more than the least budget the predicted σ* costs, as a share, mean; constant_regret: the last σ* used.
    """

    thresholds: tuple[float, ...]
    factor: float
    predicted: tuple[float, ...]
    seen: tuple[float, ...]
    error: float
    constant_error: float
    exponent: Estimate | None = None
    regret: float = float("nan")
    constant_regret: float = float("nan")


def held_out_budgets(laws: ScalingLaws) -> list[HeldOutBudget]:
    """Without the two largest budgets, then without the largest; empty where too few remain or there is no budget law."""
    if laws.budget is None:
        return []
    fits = held_out_laws(laws.budget, laws.method.budget)
    return [_held_out(laws, fit, count) for count, fit in sorted(fits, key=lambda pair: -pair[0])]


def _held_out(laws: ScalingLaws, fit: BudgetLaw, count: int) -> HeldOutBudget:
    assert laws.budget is not None
    out = sorted(laws.method.budget.used(laws.budget.points), key=lambda point: point.budget.value)[-count:]
    predicted = np.array([fit.predict(point.budget.value) for point in out])
    seen = np.array([point.utd.value for point in out])
    last = fit.points[-1]
    return HeldOutBudget(
        thresholds=tuple(point.threshold for point in out),
        factor=out[-1].budget.value / last.budget.value,
        predicted=tuple(map(float, predicted)),
        seen=tuple(map(float, seen)),
        error=float(np.mean(np.abs(np.log(predicted / seen)))),
        constant_error=float(np.mean(np.abs(np.log(last.utd.value / seen)))),
        exponent=fit.exponent_estimate,
        regret=float(np.mean([_regret(laws, point, float(utd)) for point, utd in zip(out, predicted, strict=True)])),
        constant_regret=float(np.mean([_regret(laws, point, last.utd.value) for point in out])),
    )


def _regret(laws: ScalingLaws, point: BudgetPoint, utd: float) -> float:
    """Share by which C + δ·D at σ exceeds the least, by the law of the point's threshold."""
    assert laws.budget is not None
    data = laws.data_law(point.threshold).predict([utd])
    total = float(laws.compute_for(np.array([utd]), data)[0] + laws.budget.data_cost * data[0])
    return max(total / point.budget.value - 1, 0.0)
