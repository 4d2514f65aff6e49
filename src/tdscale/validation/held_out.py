"""σ left out of the fit and predicted: at the ends (the paper's Pareto extrapolation, its Figure 6), and each in turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.fit import FitOptions
from tdscale.validation.predictors import PREDICTORS, measured_estimate, simple_predictions

Side = Literal["smallest", "largest", "both", "inside"]
# so many σ must remain to fit a law of three parameters
_LEAST = 3


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """σ left out, at all thresholds.

    Attributes:
        side: which: the "smallest" (they need most data), the "largest" (most compute), at "both" ends, or one "inside".
        utd: the σ left out; fitted: the σ used.
        factor: how far the farthest one lies outside those used; 1 inside.
        errors: mean |log predicted − log seen| of the domain's mean log D, by predictor; NaN where nothing could be compared.
        bias: the law's mean of log predicted − log seen.
        covered, compared: how many of the single D (task, σ, threshold) lie in the law's interval for them, and of how many.
            The interval is that of a measured D: the law's, and the noise of the measurement left out.
        single_errors: as `errors`, of the single D.
    """

    side: Side
    utd: tuple[float, ...]
    fitted: tuple[float, ...]
    factor: float
    errors: dict[str, float]
    bias: float
    covered: int
    compared: int
    single_errors: dict[str, float] = field(default_factory=dict)

    @property
    def percent(self) -> dict[str, float]:
        """The errors as percent: 100·(e^error − 1)."""
        return as_percent(self.errors)

    @property
    def best(self) -> str | None:
        """The predictor of least error; None where nothing could be compared."""
        return best_of(self.errors)


def as_percent(errors: dict[str, float]) -> dict[str, float]:
    """Errors of a logarithm as percent."""
    return {name: float(100 * np.expm1(value)) for name, value in errors.items()}


def best_of(errors: dict[str, float]) -> str | None:
    """Name of the least finite error."""
    finite = {name: value for name, value in errors.items() if np.isfinite(value)}
    return min(finite, key=lambda name: finite[name]) if finite else None


def ends(utd: Sequence[float]) -> list[tuple[Side, NDArray[np.bool_]]]:
    """What to leave out at the ends, as masks over the σ that were run, rising.

    Two and one at each end; and all but σ = 1 to 8 (the paper's Figure 6) where there are σ on both sides.
    """
    n = len(utd)
    index, values = np.arange(n), np.asarray(utd)
    plans: list[tuple[Side, NDArray[np.bool_]]] = []
    for count in (2, 1):
        if n - count >= _LEAST:
            plans += [("smallest", index < count), ("largest", index >= n - count)]
    middle = (values >= 1) & (values <= 8)
    if middle.sum() > _LEAST and values[0] < 1 and values[-1] > 8:
        plans.append(("both", ~middle))
    return plans


def leave_out(points: DataPoints, options: FitOptions, side: Side, out: NDArray[np.bool_]) -> HeldOut | str:
    """Fit without the σ where `out`, of shape (n_utds,), is true, and predict them; a sentence where that can't be done."""
    rest = points.subset(~out)
    laws, warnings = options.method.data_laws(rest, options.seed)
    what = f"σ = {', '.join(f'{u:g}' for u in points.utd[out])} left out"
    if not laws:
        return f"{what}: {warnings[0].message if warnings else 'nothing could be fitted'}"
    errors: dict[str, list[float]] = {name: [] for name in PREDICTORS}
    single: dict[str, list[float]] = {name: [] for name in PREDICTORS}
    bias: list[float] = []
    covered = compared = 0
    for law in laws:
        index = int(np.argmin(np.abs(points.thresholds - law.threshold)))
        known = np.isfinite(rest.data[0, :, :, index]).any(axis=1)
        for column in np.flatnonzero(out):
            tasks = np.flatnonzero(known & np.isfinite(points.data[0, :, column, index]))
            if not tasks.size:
                continue
            at = float(points.utd[column])
            seen = np.log(points.data[0, tasks, column, index])
            predictions = simple_predictions(rest.data[0, tasks, :, index], rest.bound[tasks], rest.utd, at)
            predictions["law"] = np.log([law.predict([at], points.tasks[task])[0] for task in tasks])
            for name, values in predictions.items():
                errors[name].append(float(abs(np.mean(values - seen))))
                single[name] += np.abs(values - seen).tolist()
            bias.append(float(np.mean(predictions["law"] - seen)))
            for task in tasks:
                interval = measured_estimate(law, points, int(task), int(column), index)
                covered += int(interval.low <= points.data[0, task, column, index] <= interval.high)
            compared += len(tasks)
    if not compared:
        return f"{what}: no cell there reaches a fitted threshold"
    inside, outside = points.utd[~out], points.utd[out]
    return HeldOut(
        side=side,
        utd=tuple(map(float, outside)),
        fitted=tuple(map(float, inside)),
        factor=float(max(inside.min() / outside.min(), outside.max() / inside.max(), 1.0)),
        errors={name: float(np.mean(values)) for name, values in errors.items()},
        bias=float(np.mean(bias)),
        covered=covered,
        compared=compared,
        single_errors={name: float(np.mean(values)) for name, values in single.items()},
    )
