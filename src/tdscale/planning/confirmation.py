"""A plan that was run: what it predicted, and what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import find_crossings
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.analysis.views import in_unit, measured_data_cost
from tdscale.planning.plan import Plan
from tdscale.runs.types import Cell

Quantity = Literal["data", "compute", "seconds"]
_DRAWS = 500


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One quantity, predicted and measured.

    Attributes:
        quantity: "data" (env steps until J), "compute" (until then, in the plan's unit) or "seconds" (of one run until then).
        unit: of both, in words.
        predicted: with its interval.
        seen: with the interval of its seeds; None where J was not reached.
        inside: whether the value seen lies in the predicted interval; False where J was not reached.
        ratio: seen over predicted; None where J was not reached, or nothing was predicted to be spent.
    """

    quantity: Quantity
    unit: str
    predicted: Estimate
    seen: Estimate | None
    inside: bool
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What became of a plan.

    Attributes:
        problem, limit, task, threshold, utd: the plan's.
        runs: B and η of each task.
        seeds: of each task.
        reached: whether the mean over seeds reached J, on every task.
        last_step: env steps that were seen, the fewest over the tasks: where J was not reached, D is above it.
        diverged: runs whose loss turned NaN.
        compared: data first, then what else is known.
    """

    problem: str
    limit: float
    task: str | None
    threshold: float
    utd: float
    runs: dict[str, tuple[int, float]]
    seeds: int
    reached: bool
    last_step: int
    diverged: int
    compared: tuple[Compared, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; estimates as {value, low, high, level}."""
        values = dict(self.__dict__)
        values["runs"] = {task: {"batch_size": batch, "learning_rate": rate} for task, (batch, rate) in self.runs.items()}
        values["compared"] = [
            part.__dict__ | {"predicted": part.predicted.to_dict(), "seen": None if part.seen is None else part.seen.to_dict()}
            for part in self.compared
        ]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Confirmation":
        """The inverse of `to_dict`. Raises KeyError or TypeError on foreign keys."""
        compared = tuple(
            Compared(
                **part
                | {
                    "predicted": Estimate.from_dict(part["predicted"]),
                    "seen": None if part["seen"] is None else Estimate.from_dict(part["seen"]),
                }
            )
            for part in values["compared"]
        )
        runs = {task: (int(run["batch_size"]), float(run["learning_rate"])) for task, run in values["runs"].items()}
        return cls(**values | {"runs": runs, "compared": compared})


def laws_for(plan: Plan, laws: ScalingLaws) -> ScalingLaws:
    """The laws in the plan's unit of compute, by which what was seen is compared with it.

    Raises:
        UserError: if the plan says what compute it takes and that is not known in its unit.
    """
    return laws if plan.compute is None else in_unit(laws, plan.unit)


def score(plan: Plan, laws: ScalingLaws, cells: Sequence[Cell]) -> Confirmation:
    """Compare what was measured with what a plan predicted.

    D and C of several tasks are put together as in the laws: D and B by geometric means, C the mean over tasks at them.

    Args:
        plan: feasible, with a threshold.
        laws: that it was made with, in its unit of compute (`laws_for`).
        cells: the plan's runs, one cell for each of its tasks.

    Raises:
        ValueError: if the laws are in another unit.
    """
    if plan.compute is not None and laws.unit != plan.unit:
        raise ValueError(f"the plan's compute is in {plan.unit}, the laws' in {laws.unit}")
    assert plan.utd is not None
    assert plan.threshold is not None
    assert plan.data is not None
    utd = plan.utd
    found = find_crossings(cells, [plan.threshold], n_draws=_DRAWS, seed=0)
    draws = np.exp(np.log(np.concatenate([found.data[None], found.draws])[:, :, 0]).mean(axis=1))  # the estimate first
    batch = np.exp(np.mean([np.log(cell.spec.batch_size) for cell in cells]))
    reached = bool(np.isfinite(draws[0]))
    compared = [_compared("data", "env steps", plan.data, draws, reached)]

    def compute(of: ScalingLaws) -> Callable[[Floats], Floats]:
        names = [cell.spec.task for cell in cells]
        return lambda data: np.mean([of.compute[name].compute_for(np.full_like(data, utd), batch, data) for name in names], axis=0)

    if plan.compute is not None:
        spent = compute(laws)(draws)
        if laws.unit == "seconds":
            measured = np.mean([_update_seconds(cell, draws) for cell in cells], axis=0)
            spent = spent if np.isnan(measured[0]) else measured
        compared.append(_compared("compute", plan.compute_name, plan.compute, spent, reached))
    timed = _in_seconds(laws)
    if timed is not None:
        price, update_seconds = measured_data_cost(timed, plan.task) or 0.0, compute(timed)
        ends = np.array([plan.data.value, plan.data.low, plan.data.high])
        predicted = Estimate(*(float(value) for value in update_seconds(ends) + price * ends))
        seen = np.mean([_seconds(cell, draws) for cell in cells], axis=0)
        if not np.isnan(seen[0]):
            compared.append(_compared("seconds", "seconds of one run", predicted, seen, reached))
    return Confirmation(
        problem=plan.problem,
        limit=plan.limit,
        task=plan.task,
        threshold=plan.threshold,
        utd=utd,
        runs={cell.spec.task: (cell.spec.batch_size, cell.spec.learning_rate) for cell in cells},
        seeds=min(len(cell.seeds) for cell in cells),
        reached=reached,
        last_step=min(cell.last_step for cell in cells),
        diverged=sum(int(cell.diverged.sum()) for cell in cells),
        compared=tuple(compared),
    )


def _compared(quantity: Quantity, unit: str, predicted: Estimate, values: Floats, reached: bool) -> Compared:
    """Predicted against measured values, of shape (1 + n_draws,), the estimate first."""
    if not reached:
        return Compared(quantity=quantity, unit=unit, predicted=predicted, seen=None, inside=False, ratio=None)
    seen = Estimate.from_draws(float(values[0]), values[1:])
    inside = predicted.low <= seen.value <= predicted.high
    # a prediction of 0: J is reached within the warm-up
    ratio = seen.value / predicted.value if predicted.value > 0 else None
    return Compared(quantity=quantity, unit=unit, predicted=predicted, seen=seen, inside=inside, ratio=ratio)


def _in_seconds(laws: ScalingLaws) -> ScalingLaws | None:
    if laws.unit == "seconds":
        return laws
    return in_unit(laws, "seconds") if "seconds" in laws.other_units else None


def _seconds(cell: Cell, data: Floats) -> Floats:
    """What a run of a cell took until env steps D; NaN where no times were recorded."""
    return cell.costs.get("step_seconds", np.nan) * data + _update_seconds(cell, data)


def _update_seconds(cell: Cell, data: Floats) -> Floats:
    """Seconds of the cell's run time that its updates took."""
    updates = cell.spec.utd * np.maximum(data - cell.costs.get("warm_up", 0.0), 0.0)
    return cell.costs.get("update_seconds_per_critic_update", np.nan) * updates
