"""σ*(F) fitted without the largest budgets and predicted there (the paper's budget extrapolation)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.laws import BudgetPoint, ScalingLaws

_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class HeldOutBudget:
    """σ*(F) fitted without the largest budgets, against the optimum there.

    Attributes:
        thresholds: J of the budgets left out.
        factor: the largest of them over the largest one used.
        predicted, seen: σ*, for each.
        error: mean |log predicted − log seen|; constant_error: the same with the last σ* used kept.
        exponent: of σ*(F), from the budgets used.
        regret: how much more than the least budget the predicted σ* costs, as a share, mean; constant_regret: the last σ* used.
    """

    thresholds: tuple[float, ...]
    factor: float
    predicted: tuple[float, ...]
    seen: tuple[float, ...]
    error: float
    constant_error: float
    exponent: float = float("nan")
    regret: float = float("nan")
    constant_regret: float = float("nan")


def held_out_budgets(laws: ScalingLaws) -> list[HeldOutBudget]:
    """Without the two largest budgets, then without the largest; empty where too few remain or there is no budget law."""
    if laws.budget is None:
        return []
    points = [point for point in laws.budget.points if laws.method == "paper" or not point.at_edge]
    return [_held_out(laws, points, count) for count in (2, 1) if len(points) - count >= _LEAST]


def _held_out(laws: ScalingLaws, points: Sequence[BudgetPoint], count: int) -> HeldOutBudget:
    used, out = points[:-count], points[-count:]
    exponent, intercept = np.polyfit(np.log([p.budget.value for p in used]), np.log([p.utd.value for p in used]), 1)
    predicted = np.exp(intercept + exponent * np.log([p.budget.value for p in out]))
    seen = np.array([p.utd.value for p in out])
    last = used[-1].utd.value
    return HeldOutBudget(
        thresholds=tuple(p.threshold for p in out),
        factor=out[-1].budget.value / used[-1].budget.value,
        predicted=tuple(map(float, predicted)),
        seen=tuple(map(float, seen)),
        error=float(np.mean(np.abs(np.log(predicted / seen)))),
        constant_error=float(np.mean(np.abs(np.log(last / seen)))),
        exponent=float(exponent),
        regret=float(np.mean([_regret(laws, p, float(u)) for p, u in zip(out, predicted, strict=True)])),
        constant_regret=float(np.mean([_regret(laws, p, last) for p in out])),
    )


def _regret(laws: ScalingLaws, point: BudgetPoint, utd: float) -> float:
    """Share by which C + δ·D at σ exceeds the least, by the law of the point's threshold."""
    assert laws.budget is not None
    data = laws.data_law(point.threshold).predict([utd])
    total = float(laws.flops(np.array([utd]), data)[0] + laws.budget.data_cost * data[0])
    return max(total / point.budget.value - 1, 0.0)
