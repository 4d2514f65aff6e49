"""Check the laws of a study against its own runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.fit import FitOptions
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.runs.types import Cell
from tdscale.validation.baseline import BaselineRatio, compare_baseline
from tdscale.validation.budget import held_out_budgets
from tdscale.validation.held_out import HeldOut, ends, leave_out
from tdscale.validation.result import Validation
from tdscale.validation.sizes import HeldOutSize, leave_sizes_out, size_plans
from tdscale.validation.tasks import HeldOutTask, leave_task_out

T = TypeVar("T")

# leaving out takes many fits: so many draws are enough for each, and so many thresholds where things are left out in turn
_THRESHOLDS = 4
_DRAWS = 100


def validate(
    points: DataPoints,
    options: FitOptions,
    laws: ScalingLaws,
    baseline: DataPoints | None = None,
    *,
    baseline_cells: Sequence[Cell] = (),
) -> Validation:
    """Predict what was left out of the fit, beside simpler predictors.

    Laws with model size are checked as such, with σ and N left out; their budgets and their baseline at the N at which they stand.

    Args:
        points: D_J of the stage that the laws were fitted to.
        options: those of the fit.
        laws: fitted to all of `points`.
        baseline: D_J with B and η kept constant, where such runs exist.
        baseline_cells: what `baseline` was measured on; without them C is not compared.
    """
    skipped: list[str] = []
    thinned = replace(points, data=points.data[: 1 + _DRAWS])
    few = _fewer_thresholds(thinned)
    held_out: list[HeldOut] = []
    in_turn: list[HeldOut] = []
    tasks: list[HeldOutTask] = []
    sizes: list[HeldOutSize] = []
    if laws.sizes is None:
        held_out = _ends(thinned, options, skipped)
        in_turn = _in_turn(few, options, skipped)
        tasks = _tasks(few, options, laws, skipped)
    else:
        sizes = _sizes(few, options, skipped)
        points, baseline, baseline_cells = _at_size(laws, points, baseline, baseline_cells)
    budgets = held_out_budgets(laws)
    if not budgets:
        skipped.append("budgets left out: σ*(F) needs at least three thresholds with their cheapest σ inside the σ that were run")
    ratios: list[BaselineRatio] = []
    if baseline is None:
        skipped.append('constant hyperparameters: there are no runs of the stage "baseline"')
    else:
        ratios = compare_baseline(points, baseline, baseline_cells, laws)
    return Validation(
        held_out=tuple(held_out),
        budget=budgets[0] if budgets else None,
        baseline=tuple((ratio.utd, ratio.data.value) for ratio in ratios),
        skipped=tuple(skipped),
        leave_one_out=tuple(in_turn),
        tasks=tuple(tasks),
        budgets=tuple(budgets),
        hyperparameters=tuple(ratios),
        sizes=tuple(sizes),
        model_size=laws.model_size if laws.sizes is not None else None,
    )


def _ends(points: DataPoints, options: FitOptions, skipped: list[str]) -> list[HeldOut]:
    plans = ends(points.utd.tolist())
    if not plans:
        skipped.append(f"σ left out: {len(points.utd)} σ were run; leaving one out needs at least 4, so that 3 remain")
    return _kept([leave_out(points, options, side, out) for side, out in plans], skipped)


def _in_turn(points: DataPoints, options: FitOptions, skipped: list[str]) -> list[HeldOut]:
    n = len(points.utd)
    if n < 4:
        return []
    return _kept([leave_out(points, options, "inside", np.arange(n) == column) for column in range(1, n - 1)], skipped)


def _sizes(points: DataPoints, options: FitOptions, skipped: list[str]) -> list[HeldOutSize]:
    """σ and N left out of the laws with model size; the other checks of laws over σ alone are reported as not made."""
    assert points.model_size is not None
    for name, what, axis in (("σ", "σ", points.utd), ("N", "sizes", points.model_size)):
        if len(values := np.unique(axis)) < 3:
            skipped.append(f"{name} left out: {len(values)} {what} were run; leaving one out needs at least 3, so that 2 remain")
    skipped.append("a law of σ alone at each N: plans use the laws over σ and N, from which σ are left out above")
    skipped.append("tasks left out: this is done for laws without model size only")
    return _kept([leave_sizes_out(points, options.method, options.seed, plan) for plan in size_plans(points)], skipped)


def _at_size(
    laws: ScalingLaws, points: DataPoints, baseline: DataPoints | None, cells: Sequence[Cell]
) -> tuple[DataPoints, DataPoints | None, Sequence[Cell]]:
    """What was measured of the size at which the laws stand."""
    assert laws.sizes is not None
    assert laws.model_size is not None
    name = laws.sizes.sizes.nearest(laws.model_size)
    return (
        points.at_size(laws.model_size),
        None if baseline is None else baseline.at_size(laws.model_size),
        [cell for cell in cells if cell.size == name],
    )


def _tasks(points: DataPoints, options: FitOptions, laws: ScalingLaws, skipped: list[str]) -> list[HeldOutTask]:
    if len(points.tasks) < 2:
        skipped.append("tasks left out: there is only one task")
        return []
    if options.method.no_new_task:
        skipped.append(f"tasks left out: {options.method.no_new_task}")
        return []
    widths = {task: _width(laws, points, task) for task in points.tasks}
    return _kept([leave_task_out(points, options, task, widths) for task in range(len(points.tasks))], skipped)


def _width(laws: ScalingLaws, points: DataPoints, task: str) -> float:
    """Median over σ and thresholds of half the width of a task's interval of log D, in the fit to all runs."""
    widths = []
    for law in laws.data:
        if np.isclose(points.thresholds, law.threshold).any():
            for utd in points.utd:
                estimate = law.estimate(float(utd), task)
                if np.isfinite([estimate.low, estimate.high]).all() and estimate.low > 0:
                    widths.append(np.log(estimate.high / estimate.low) / 2)
    return float(np.median(widths)) if widths else float("nan")


def _kept(results: Sequence[T | str], skipped: list[str]) -> list[T]:
    kept: list[T] = []
    for result in results:
        if isinstance(result, str):
            skipped.append(result)
        else:
            kept.append(result)
    return kept


def _fewer_thresholds(points: DataPoints) -> DataPoints:
    """Evenly chosen ones with both ends."""
    n = len(points.thresholds)
    chosen = np.unique(np.linspace(0, n - 1, min(n, _THRESHOLDS)).round().astype(int))
    return replace(points, thresholds=points.thresholds[chosen], data=points.data[..., chosen])
