"""Predictions against runs that the fit did not see: held-out σ and budgets, tuned against constant B and η (METHOD.md section 5)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.data import DataPoints, fit_data_laws
from tdscale.analysis.laws import BudgetLaw, BudgetPoint, DataLaw, ScalingLaws
from tdscale.analysis.options import FitOptions

Side = Literal["smallest", "largest"]
# the simpler predictors that the law is held against (DESIGN: checked against simpler ones)
PREDICTORS = ("law", "power law", "nearest σ", "constant")


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The σ at one end left out, at all thresholds.

    Attributes:
        side: which end: "smallest" needs most data, "largest" most compute.
        utd: the σ left out; fitted: the σ used.
        factor: how far the farthest one lies outside those used.
        errors: mean |log predicted − log seen| of the domain's mean log D, by predictor; NaN where nothing could be compared.
        bias: the law's mean of log predicted − log seen.
        covered, compared: how many of the single D (task, σ, threshold) lie in the law's interval, and of how many.
    """

    side: Side
    utd: tuple[float, ...]
    fitted: tuple[float, ...]
    factor: float
    errors: dict[str, float]
    bias: float
    covered: int
    compared: int


@dataclass(frozen=True, kw_only=True)
class HeldOutBudget:
    """σ*(F) fitted without the largest budgets, against the optimum there; `constant_error` keeps the last σ*. Errors are |log σ|."""

    thresholds: tuple[float, ...]
    factor: float
    predicted: tuple[float, ...]
    seen: tuple[float, ...]
    error: float
    constant_error: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What could be checked; `skipped` says in a sentence each what could not and why."""

    held_out: tuple[HeldOut, ...]
    budget: HeldOutBudget | None
    baseline: tuple[tuple[float, float], ...]
    skipped: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; what is not finite is null."""
        values: dict[str, Any] = _plain(asdict(self))
        return values


def validate(points: DataPoints, options: FitOptions, laws: ScalingLaws, baseline: DataPoints | None = None) -> Validation:
    """Check the laws of a study against its own runs.

    Args:
        points: D_J of the stage that the laws were fitted to.
        options: those of the fit.
        laws: fitted to all of `points`.
        baseline: D_J with B and η kept constant, where such runs exist.
    """
    held_out: list[HeldOut] = []
    skipped: list[str] = []
    n = len(points.utd)
    count = 2 if n >= 6 else 1
    if n - count < 3:
        skipped.append(f"held-out σ: {n} σ were run; leaving one out needs at least 4, so that 3 remain")
    else:
        sides: tuple[Side, ...] = ("smallest", "largest")
        for side in sides:
            result = _held_out(points, options, side, count)
            if isinstance(result, str):
                skipped.append(result)
            else:
                held_out.append(result)
    budget = _held_out_budget(laws.budget)
    if budget is None:
        skipped.append("held-out budgets: σ*(F) needs at least four thresholds with their cheapest σ inside the σ that were run")
    ratios: tuple[tuple[float, float], ...] = ()
    if baseline is None:
        skipped.append('constant hyperparameters: there are no runs of the stage "baseline"')
    else:
        ratios = _baseline(points, baseline)
    return Validation(held_out=tuple(held_out), budget=budget, baseline=ratios, skipped=tuple(skipped))


def _held_out(points: DataPoints, options: FitOptions, side: Side, count: int) -> HeldOut | str:
    n = len(points.utd)
    out = np.arange(n) < count if side == "smallest" else np.arange(n) >= n - count
    rest = points.subset(~out)
    laws, warnings = fit_data_laws(rest, options)
    if not laws:
        return f"held-out σ ({side}): {warnings[0].message if warnings else 'nothing could be fitted'}"
    errors: dict[str, list[float]] = {name: [] for name in PREDICTORS}
    bias: list[float] = []
    covered = compared = 0
    for law in laws:
        index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
        seen = points.data[0, :, out, index]  # (n_out, n_tasks): numpy puts the mask's axis first
        for utd, truth in zip(points.utd[out], seen, strict=True):
            tasks = [i for i in range(len(points.tasks)) if np.isfinite(truth[i]) and np.isfinite(rest.data[0, i, :, index]).any()]
            if not tasks:
                continue
            target = float(np.mean(np.log(truth[tasks])))
            predictions = _predictions(law, rest.data[0, tasks, :, index], rest.utd, [points.tasks[i] for i in tasks], float(utd))
            for name, value in predictions.items():
                errors[name].append(abs(value - target))
            bias.append(predictions["law"] - target)
            for i in tasks:
                interval = law.estimate(float(utd), points.tasks[i])
                compared += 1
                covered += int(interval.low <= truth[i] <= interval.high)
    if not compared:
        return f"held-out σ ({side}): no cell there reaches any threshold that the law was fitted at"
    inside, outside = points.utd[~out], points.utd[out]
    factor = inside.min() / outside.min() if side == "smallest" else outside.max() / inside.max()
    return HeldOut(
        side=side,
        utd=tuple(map(float, outside)),
        fitted=tuple(map(float, inside)),
        factor=float(factor),
        errors={name: float(np.mean(values)) if values else float("nan") for name, values in errors.items()},
        bias=float(np.mean(bias)),
        covered=covered,
        compared=compared,
    )


def _predictions(law: DataLaw, data: Floats, utd: Floats, tasks: Sequence[str], at: float) -> dict[str, float]:
    """Mean over tasks of predicted log D at one σ, by predictor; `data` of shape (n_tasks, n_utds) is what was not left out."""
    by_law = float(np.mean([np.log(law.predict([at], task)[0]) for task in tasks]))
    log_data = np.where(np.isfinite(data), np.log(np.where(np.isfinite(data), data, 1.0)), np.nan)
    known = np.isfinite(log_data)
    x = np.log(utd)
    centred = np.where(known, x - (known * x).sum(axis=1, keepdims=True) / known.sum(axis=1, keepdims=True), 0.0)
    slope = (centred * np.nan_to_num(log_data)).sum() / max(float((centred**2).sum()), 1e-12)
    means = np.nanmean(log_data, axis=1)
    middle = (known * x).sum(axis=1) / known.sum(axis=1)
    nearest = [float(row[k][np.argmin(np.abs(x[k] - np.log(at)))]) for row, k in zip(log_data, known, strict=True)]
    return {
        "law": by_law,
        "power law": float(np.mean(means + slope * (np.log(at) - middle))),
        "nearest σ": float(np.mean(nearest)),
        "constant": float(np.mean(means)),
    }


def _held_out_budget(law: BudgetLaw | None) -> HeldOutBudget | None:
    if law is None:
        return None
    points: list[BudgetPoint] = [point for point in law.points if not point.at_edge]
    if len(points) < 4:
        return None
    used, out = points[:-2], points[-2:]
    log_budget = np.log([p.budget.value for p in used])
    slope, intercept = np.polyfit(log_budget, np.log([p.utd.value for p in used]), 1)
    predicted = np.exp(intercept + slope * np.log([p.budget.value for p in out]))
    seen = np.array([p.utd.value for p in out])
    return HeldOutBudget(
        thresholds=tuple(p.threshold for p in out),
        factor=out[-1].budget.value / used[-1].budget.value,
        predicted=tuple(map(float, predicted)),
        seen=tuple(map(float, seen)),
        error=float(np.mean(np.abs(np.log(predicted / seen)))),
        constant_error=float(np.mean(np.abs(np.log(used[-1].utd.value / seen)))),
    )


def _baseline(points: DataPoints, baseline: DataPoints) -> tuple[tuple[float, float], ...]:
    """(σ, D of the constant baseline over D of the fitted hyperparameters), geometric mean over tasks and thresholds both reach."""
    ratios = []
    for column, utd in enumerate(points.utd):
        match = np.flatnonzero(np.isclose(baseline.utd, utd))
        if not match.size:
            continue
        fitted, constant = points.data[0, :, column], baseline.data[0, :, match[0]]
        both = np.isfinite(fitted) & np.isfinite(constant)
        if both.any():
            ratios.append((float(utd), float(np.exp(np.mean(np.log(constant[both] / fitted[both]))))))
    return tuple(ratios)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
