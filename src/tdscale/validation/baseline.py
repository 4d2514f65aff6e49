"""Runs with B*(σ), η*(σ) against runs with B and η kept constant (the paper's hyperparameter extrapolation)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.compute import ComputeModel
from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.runs.types import Cell


@dataclass(frozen=True, kw_only=True)
class BaselineRatio:
    """Constant over fitted hyperparameters at one σ, geometric mean over the tasks and thresholds that both reach.

    Attributes:
        utd: σ.
        data: D of the constant ones over D of the fitted ones; above 1 the fitted ones need less.
        compute: the same of C; None where network sizes are not known.
        compared: how many pairs (task, threshold).
        constant_censored, fitted_censored: how many pairs lack a D because that side never reaches J.
    """

    utd: float
    data: Estimate
    compute: Estimate | None
    compared: int
    constant_censored: int
    fitted_censored: int


def compare_baseline(fitted: DataPoints, constant: DataPoints, constant_cells: Sequence[Cell], laws: ScalingLaws) -> list[BaselineRatio]:
    """Ratios at every σ that both were run at.

    Args:
        fitted, constant: D_J of both stages, with as many draws.
        constant_cells: the cells that `constant` was measured on, for their B; without them there is no ratio of C.
        laws: of the fitted ones, which know their B and what an update costs.
    """
    used = [(task, utd, batch) for task, pairs in laws.used_batch_size.items() for utd, batch in pairs]
    kept_used = [(cell.spec.task, cell.spec.utd, float(cell.spec.batch_size)) for cell in constant_cells]
    batches, compute = (_batches(fitted, used), _batches(constant, kept_used)), laws.compute
    ratios = []
    for column, utd in enumerate(fitted.utd):
        match = np.flatnonzero(np.isclose(constant.utd, utd))
        if not match.size:
            continue
        tuned, kept = fitted.data[:, :, column], constant.data[:, :, match[0]]  # (1 + n_draws, n_tasks, n_thresholds)
        both = np.isfinite(tuned[0]) & np.isfinite(kept[0])
        if not both.any():
            continue
        price = None
        if set(compute) >= set(fitted.tasks):
            tuned_cost, kept_cost = (
                _compute(fitted.tasks, compute, float(utd), batch[:, place], data)
                for batch, place, data in ((batches[0], column, tuned), (batches[1], match[0], kept))
            )
            price = _ratio(kept_cost, tuned_cost, both)
        ratio = _ratio(kept, tuned, both)
        assert ratio is not None
        ratios.append(
            BaselineRatio(
                utd=float(utd),
                data=ratio,
                compute=price,
                compared=int(both.sum()),
                constant_censored=int((np.isposinf(kept[0]) & np.isfinite(tuned[0])).sum()),
                fitted_censored=int((np.isposinf(tuned[0]) & np.isfinite(kept[0])).sum()),
            )
        )
    return ratios


def _batches(points: DataPoints, used: Sequence[tuple[str, float, float]]) -> Floats:
    """B at each (task, σ) from triples (task, σ, B), NaN where it is not known."""
    batch = np.full((len(points.tasks), len(points.utd)), np.nan)
    for task, utd, value in used:
        place = np.flatnonzero(np.isclose(points.utd, utd))
        if place.size and task in points.tasks:
            batch[points.tasks.index(task), place[0]] = value
    return batch


def _compute(tasks: Sequence[str], compute: Mapping[str, ComputeModel], utd: float, batch: Floats, data: Floats) -> Floats:
    return np.stack([compute[task].compute_for(utd, batch[index], data[:, index]) for index, task in enumerate(tasks)], axis=1)


def _ratio(top: Floats, bottom: Floats, both: np.ndarray) -> Estimate | None:
    """Geometric mean over the places `both` of top over bottom, the point estimate first on the leading axis; None if not known."""
    top, bottom = top[:, both], bottom[:, both]
    # a draw in which a pair is censored leaves that pair out; C is 0 where warm-up alone reaches J
    usable = np.isfinite(top) & np.isfinite(bottom) & (top > 0) & (bottom > 0)
    if not usable[0].any():
        return None
    logs = np.log(np.where(usable, top, 1.0) / np.where(usable, bottom, 1.0))
    count = usable.sum(axis=1)
    means = np.exp(logs.sum(axis=1)[count > 0] / count[count > 0])
    return Estimate.from_draws(float(means[0]), means[1:])
