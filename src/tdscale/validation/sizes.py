"""σ and N left out of laws with model size, and predicted: the ends of both axes, the corners, and what lies inside, in turn."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.estimate import short
from tdscale.analysis.form_fit import Prior, fit_form
from tdscale.analysis.method import Method
from tdscale.analysis.size_forms import PRODUCT, SIZE_POWER, SUM
from tdscale.analysis.size_law import SizeLaw
from tdscale.validation.held_out import as_percent, best_of
from tdscale.validation.predictors import measured_estimate

Place = Literal["end", "corner", "inside"]
SIZE_PREDICTORS = ("law", "sum", "product", "power law", "nearest")
_FORMS = {"sum": SUM, "product": PRODUCT, "power law": SIZE_POWER}
# log D of points about a single form, as its prior counts beside them
_NOISE = 0.2


@dataclass(frozen=True, kw_only=True)
class HeldOutSize:
    """Points (σ, N) left out of a law with model size, at all thresholds.

    Attributes:
        place: an "end" of one axis, a "corner" of both, or an axis's value "inside".
        name: as shown, "largest N", "smallest σ, largest N", "N = 2.32e6".
        utd, model_size: the different σ and N of the points left out.
        factor: how far they lie outside those used, along either axis; 1 inside and at a corner.
        errors: mean |log predicted − log seen| of the domain's mean log D, by predictor (`SIZE_PREDICTORS`).
        single_errors: the same of each task's.
        bias: the law's mean of log predicted − log seen, of the domain.
        covered, compared: how many of the single D (task, σ, N, threshold) lie in the law's interval for them, and of how many. The
            interval is that of a measured D: the law's, and the noise of the measurement left out.
    """

    place: Place
    name: str
    utd: tuple[float, ...]
    model_size: tuple[float, ...]
    factor: float
    errors: dict[str, float]
    single_errors: dict[str, float]
    bias: float
    covered: int
    compared: int

    @property
    def percent(self) -> dict[str, float]:
        """The errors as percent."""
        return as_percent(self.errors)

    @property
    def best(self) -> str | None:
        """The predictor of least error."""
        return best_of(self.errors)


def size_plans(points: DataPoints) -> list[tuple[Place, str, Bools]]:
    """What to leave out so that two σ and two N remain: where, its name, and a mask over the points."""
    at = _coordinates(points)
    axes = {"σ": at[0], "N": at[1]}
    values = {name: np.unique(axis) for name, axis in axes.items()}
    sides = {(side, name): axis == values[name][index] for name, axis in axes.items() for side, index in (("smallest", 0), ("largest", -1))}
    long = {name: len(of_axis) > 2 for name, of_axis in values.items()}
    plans: list[tuple[Place, str, Bools]] = [("end", f"{side} {name}", out) for (side, name), out in sides.items() if long[name]]
    for (side, name), of_utd in sides.items():
        for (other_side, other), of_size in sides.items():
            if (name, other) == ("σ", "N") and min(map(len, values.values())) > 1:
                plans.append(("corner", f"{side} σ, {other_side} N", of_utd & of_size))
    for name in ("N", "σ"):
        plans += [("inside", f"{name} = {short(value)}", axes[name] == value) for value in values[name][1:-1]]
    return [plan for plan in plans if plan[2].any()]


def leave_sizes_out(
    points: DataPoints, method: Method, seed: int, plan: tuple[Place, str, Bools], *, least_points: int = 1
) -> HeldOutSize | str:
    """Fit without the points of a plan, and predict them; a sentence where that can't be done.

    Args:
        points: D_J with `model_size`.
        method, seed: of the fit.
        plan: one of `size_plans`.
        least_points: how many points a task must have left at which it reaches a threshold, to be compared there.
    """
    place, name, out = plan
    rest = points.subset(~out)
    at, wanted = _coordinates(rest), _coordinates(points)[:, out]
    what = f"{name} left out"
    laws, warnings = method.size_laws(rest, seed)
    if not laws:
        return f"{what}: {warnings[0].message if warnings else 'nothing could be fitted'}"
    errors: dict[str, list[float]] = defaultdict(list)
    single: dict[str, list[float]] = defaultdict(list)
    bias: list[float] = []
    inside: list[bool] = []
    for law in laws:
        index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
        data = rest.data[0, ..., index]
        tasks = np.flatnonzero(np.isfinite(data).sum(axis=1) >= least_points)
        seen = points.data[0][np.ix_(tasks, np.flatnonzero(out))][..., index]
        known = np.isfinite(seen)
        if not known.any():
            continue
        predicted = size_predictions(data[tasks], rest.bound[tasks], at, wanted)
        predicted["law"] = _by_law(law, [points.tasks[task] for task in tasks], wanted)
        truth = np.log(np.where(known, seen, 1.0))
        for predictor, values in predicted.items():
            off = np.where(known, values - truth, 0.0)
            means = off.sum(axis=0)[known.any(axis=0)] / known.sum(axis=0)[known.any(axis=0)]
            errors[predictor] += np.abs(means).tolist()
            single[predictor] += np.abs(off[known]).tolist()
            if predictor == "law":
                bias += means.tolist()
        inside += _inside(law, points, tasks, np.flatnonzero(out), index)
    if not inside:
        return f"{what}: no cell there reaches a fitted threshold"
    return HeldOutSize(
        place=place,
        name=name,
        utd=tuple(map(float, np.unique(wanted[0]))),
        model_size=tuple(map(float, np.unique(wanted[1]))),
        factor=_factor(at, wanted),
        errors={name: float(np.mean(errors[name])) for name in SIZE_PREDICTORS},
        single_errors={name: float(np.mean(single[name])) for name in SIZE_PREDICTORS},
        bias=float(np.mean(bias)),
        covered=sum(inside),
        compared=len(inside),
    )


def size_predictions(data: Floats, bound: Floats, at: Floats, wanted: Floats) -> dict[str, Floats]:
    """Each task's log D at points that were left out, by the predictors that are not the law.

    Args:
        data: D that was not left out, shape (n_tasks, n_points), at least one finite in each row; infinity where censored, NaN where
            missing.
        bound: last env step seen, same shape.
        at: σ and N of these points, shape (2, n_points); wanted: of those to predict, shape (2, n_wanted).

    Returns:
        "sum", "product" (single forms with the law's own prior), "power law" (which has none), "nearest" (`nearest_point`): each of shape
        (n_tasks, n_wanted).
    """
    fits = {name: fit_form(form, at, data[None], bound, Prior(noise=_NOISE)) for name, form in _FORMS.items()}
    return {name: fit.log_data(np.log(wanted))[0] for name, fit in fits.items()} | {"nearest": nearest_point(data, at, wanted)}


def nearest_point(data: Floats, at: Floats, wanted: Floats) -> Floats:
    """log D of each task at the nearest point, in |Δlog σ| + |Δlog N|, that reached the threshold; several as near count alike.

    Arguments and result as in `size_predictions`.
    """
    apart = np.abs(np.log(at)[:, None] - np.log(wanted)[:, :, None]).sum(axis=0)
    found = np.empty((len(data), wanted.shape[1]))
    for task, values in enumerate(data):
        known = np.isfinite(values)
        near = np.where(known, apart, np.inf)
        closest = near <= near.min(axis=1, keepdims=True) + 1e-9
        found[task] = (closest * np.where(known, np.log(np.where(known, values, 1.0)), 0.0)).sum(axis=1) / closest.sum(axis=1)
    return found


def _coordinates(points: DataPoints) -> Floats:
    """σ and N of the points, shape (2, n_points)."""
    assert points.model_size is not None
    return np.stack([points.utd, points.model_size])


def _by_law(law: SizeLaw, tasks: list[str], wanted: Floats) -> Floats:
    """log D of the tasks by the law, shape (n_tasks, n_wanted)."""
    laws = {size: law.at_size(size) for size in np.unique(wanted[1])}
    return np.log([[laws[size].predict([utd], task)[0] for utd, size in wanted.T] for task in tasks])


def _inside(law: SizeLaw, points: DataPoints, tasks: np.ndarray, columns: np.ndarray, index: int) -> list[bool]:
    """Whether each measured D lies in its interval."""
    assert points.model_size is not None
    found = []
    for column in columns:
        at_size = law.at_size(float(points.model_size[column]))
        for task in tasks:
            seen = points.data[0, task, column, index]
            if np.isfinite(seen):
                interval = measured_estimate(at_size, points, int(task), int(column), index)
                found.append(bool(interval.low <= seen <= interval.high))
    return found


def _factor(at: Floats, wanted: Floats) -> float:
    beyond = [max(axis.min() / of_wanted.min(), of_wanted.max() / axis.max()) for axis, of_wanted in zip(at, wanted, strict=True)]
    return float(max(*beyond, 1.0))
