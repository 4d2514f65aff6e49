"""What each of several studies needs at its best σ: D under a limit on C, C under one on D, F of each J, and J for a budget F."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.fitted_laws import REFUSED_WIDTH, DataLaw
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.planning.tradeoff import Tradeoff, cheapest, largest_stretch, tradeoff

# C of a draw that reaches J within the warm-up is 0: far below any limit, and it still has a logarithm
_LEAST = 1e-300


@dataclass(frozen=True)
class Least:
    """The least of something along σ, at m limits. Infinite where no σ meets the limit.

    Attributes:
        value: the point estimate in row 0, draws behind, shape (1 + n_draws, m).
        utd: σ of the point estimate, shape (m,), NaN where there is none.
    """

    value: Floats
    utd: Floats


def least_at(utd: Floats, objective: Floats, bounded: Floats, limits: Floats) -> Least:
    """The least `objective` among the σ with `bounded` ≤ limit, straight lines between the σ of the grid in the logarithms.

    Args:
        utd: shape (n,).
        objective, bounded: shape (1 + n_draws, n).
        limits: shape (m,).
    """
    with np.errstate(divide="ignore"):
        log_objective, log_bounded = np.log(np.maximum(objective, _LEAST)), np.log(np.maximum(bounded, _LEAST))
    log_utd = np.log(utd)
    rise = np.diff(log_bounded, axis=1)
    value, at = np.empty((len(objective), len(limits))), np.empty(len(limits))
    for column, limit in enumerate(np.log(limits)):
        kept = log_bounded <= limit
        crosses = kept[:, 1:] != kept[:, :-1]
        share = np.where(crosses, limit - log_bounded[:, :-1], 0.0) / np.where(crosses, rise, 1.0)
        on_limit = np.where(crosses, log_objective[:, :-1] + share * np.diff(log_objective, axis=1), np.inf)
        within = np.where(kept, log_objective, np.inf)
        value[:, column] = np.minimum(within.min(axis=1), on_limit.min(axis=1))
        inner, edge = int(np.argmin(within[0])), int(np.argmin(on_limit[0]))
        if not np.isfinite(value[0, column]):
            at[column] = np.nan
        elif within[0, inner] <= on_limit[0, edge]:
            at[column] = log_utd[inner]
        else:
            at[column] = log_utd[edge] + share[0, edge] * (log_utd[edge + 1] - log_utd[edge])
    return Least(np.exp(value), np.exp(at))


@dataclass(frozen=True)
class Frontier:
    """A study's D and C along σ until J, of a task or over tasks.

    Attributes:
        curves: where the law can tell D.
        law: at J.
    """

    curves: Tradeoff
    law: DataLaw

    @property
    def inside(self) -> Tradeoff:
        """Within the σ that were run."""
        low, high = self.curves.run
        return self.curves.part((self.curves.utd >= low * (1 - 1e-9)) & (self.curves.utd <= high * (1 + 1e-9)))

    def least_data(self, compute: Floats) -> Least:
        """D at each C."""
        return least_at(self.curves.utd, self.curves.data, self.curves.compute, compute)

    def least_compute(self, data: Floats) -> Least:
        """C at each D."""
        return least_at(self.curves.utd, self.curves.compute, self.curves.data, data)

    def least_budget(self, data_cost: float) -> Least:
        """F = C + δ·D at the cheapest σ, as at one limit."""
        utd, budget = cheapest(self.curves, data_cost)
        return Least(budget[:, None], utd[:1])

    def extrapolation(self, utd: float) -> float:
        """By what factor σ lies outside those that were run; 1 inside."""
        return self.law.extrapolation(utd)


def with_own_drift(laws: ScalingLaws, law: DataLaw) -> DataLaw:
    """The law with its drifts beyond what was run in an order that the runs decide.

    Draws of one number, of two studies, have the law's and the tasks' part in common (`misfit.generator_of_runs`): in a ratio it cancels.
    How D goes on beyond what was run belongs to each algorithm. The same runs have the same order.
    """
    key = laws.inputs.encode() or b"".join(np.ascontiguousarray(one.data).tobytes() for one in laws.data)
    order = np.random.default_rng([zlib.crc32(key), 22]).permutation(len(law.drift_draws))
    return replace(law, drift_draws=law.drift_draws[order])


class Study:
    """A study's frontiers, each found once. `n_draws`: how many of its draws count."""

    def __init__(self, laws: ScalingLaws, n_draws: int) -> None:
        self.laws, self._n_draws = laws, n_draws
        self._of_tasks: dict[tuple[float, str], Tradeoff] = {}

    def frontier(self, law: DataLaw, tasks: Sequence[str]) -> Frontier | None:
        """Of one task, or over several: D their geometric mean, B likewise, C the mean of the tasks' C at them, one σ for all.

        Args:
            law: at J.
            tasks: at least one, all of which reach J.

        Returns:
            None where the law can't tell D anywhere, or C is not known.
        """
        of_tasks = [self._of_task(law, task) for task in tasks]
        curves = of_tasks[0] if len(tasks) == 1 else self._over_tasks(of_tasks, tasks)
        curves = curves.part(curves.predictable)
        if len(curves.utd) < 5 or not np.isfinite(curves.compute[0]).all():
            return None
        return Frontier(curves, law)

    def _of_task(self, law: DataLaw, task: str) -> Tradeoff:
        key = law.threshold, task
        if key not in self._of_tasks:
            curves, n_rows = tradeoff(self.laws, with_own_drift(self.laws, law), task, 1), 1 + self._n_draws
            self._of_tasks[key] = replace(curves, data=curves.data[:n_rows], compute=curves.compute[:n_rows])
        return self._of_tasks[key]

    def _over_tasks(self, of_tasks: Sequence[Tradeoff], tasks: Sequence[str]) -> Tradeoff:
        first, law = of_tasks[0], self.laws.batch_size
        data = np.exp(np.mean([np.log(one.data) for one in of_tasks], axis=0))
        batch_size: Floats = np.ones(len(first.utd))
        if law is not None:
            batch_size = np.exp(np.mean([np.log(law.predict(first.utd, task)) for task in tasks], axis=0))
        compute = np.mean([self.laws.compute[task].compute_for(first.utd, batch_size, data) for task in tasks], axis=0)
        predictable = np.isfinite(data[0])
        if len(data) > 1:
            low, high = np.quantile(data[1:], [0.1, 0.9], axis=0, method="nearest")
            predictable &= high <= REFUSED_WIDTH * low
        return replace(first, data=data, compute=compute, predictable=largest_stretch(predictable))


def return_for(budgets: Floats, thresholds: Floats, limits: Floats) -> Floats:
    """J that each budget reaches: straight lines of J over log F between the thresholds, the ends kept beyond them.

    Args:
        budgets: least F of each threshold, the point estimate and draws, shape (1 + n_draws, n_thresholds).
        thresholds: J, rising, shape (n_thresholds,).
        limits: F, shape (m,).

    Returns:
        Shape (1 + n_draws, m).
    """
    # more return never needs less
    log_budget = np.log(np.maximum.accumulate(np.maximum(budgets, _LEAST), axis=1))
    rows = []
    for row in log_budget:
        known = np.isfinite(row)
        reached = np.interp(np.log(limits), row[known], thresholds[known]) if known.any() else np.full(len(limits), thresholds[0])
        rows.append(reached)
    return np.array(rows)
