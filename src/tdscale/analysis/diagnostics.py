"""Overfitting, parameter norms and the critical batch size from what runs logged (the paper's B.1, section 4.2 and appendix E)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tdscale.analysis.arrays import Floats
from tdscale.runs.types import RunDiagnostics

# the batches whose gradient norms are logged
SMALL_BATCH, LARGE_BATCH = 64, 1024


def overfitting(td_error_unlearnt: ArrayLike, td_error_uniform: ArrayLike) -> float:
    """Mean over training of the TD error on the newest (or validation) transitions less that on uniform ones; positive = overfitting.

    The paper prints the other sign (B.1). Both of shape (n_steps,); rows in which either is NaN are left out; NaN without any.
    """
    difference = np.asarray(td_error_unlearnt, dtype=np.float64) - np.asarray(td_error_uniform, dtype=np.float64)
    known = np.isfinite(difference)
    return float(difference[known].mean()) if known.any() else float("nan")


def last_value(values: ArrayLike) -> float:
    """The last finite value of a column of shape (n_steps,); NaN without one."""
    column = np.asarray(values, dtype=np.float64)
    known = column[np.isfinite(column)]
    return float(known[-1]) if known.size else float("nan")


def rolling_mean(values: ArrayLike, window: int) -> Floats:
    """Mean over the last `window` values, fewer at the start; shape (n,) as `values`.

    Raises:
        ValueError: if the window is not at least 1.
    """
    if window < 1:
        raise ValueError(f"window is {window}; it must be at least 1")
    column = np.asarray(values, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(column)])
    end = np.arange(1, len(column) + 1)
    start = np.maximum(end - window, 0)
    return np.asarray((total[end] - total[start]) / (end - start))


def critical_batch_size(
    norm_squared_small: ArrayLike,
    norm_squared_large: ArrayLike,
    *,
    window: int,
    small: int = SMALL_BATCH,
    large: int = LARGE_BATCH,
) -> Floats:
    """B_crit = S/|G|² over training (appendix E), shape (n,); NaN where the estimate of |G|² or S is not positive.

    |G|² = (B_large·|G_large|² − B_small·|G_small|²)/(B_large − B_small) and S = (|G_small|² − |G_large|²)/(1/B_small − 1/B_large),
    each norm averaged over a rolling window first, since single ones are too noisy to combine.

    Args:
        norm_squared_small, norm_squared_large: squared gradient norms at the two batch sizes, shape (n,), finite.
        window: logged rows to average over.
        small, large: the batch sizes.
    """
    at_small, at_large = rolling_mean(norm_squared_small, window), rolling_mean(norm_squared_large, window)
    gradient = (large * at_large - small * at_small) / (large - small)
    noise = (at_small - at_large) / (1 / small - 1 / large)
    good = (gradient > 0) & (noise > 0)
    return np.where(good, noise / np.where(good, gradient, 1.0), np.nan)


def least_absolute_line(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Slope and intercept of the line with the least sum of absolute errors through points of shape (n,).

    Such a line can always be put through two of the points; all pairs are tried. Of equals, the flattest is taken.

    Raises:
        ValueError: with fewer than two different x.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    first, second = np.triu_indices(len(xs), 1)
    apart = xs[first] != xs[second]
    first, second = first[apart], second[apart]
    if not first.size:
        raise ValueError("a line needs points at two different x")
    slopes = (ys[second] - ys[first]) / (xs[second] - xs[first])
    intercepts = ys[first] - slopes * xs[first]
    errors = np.abs(ys - intercepts[:, None] - slopes[:, None] * xs).sum(axis=1)
    best = np.flatnonzero(errors <= errors.min() * (1 + 1e-9) + 1e-300)
    index = best[np.argmin(np.abs(slopes[best]))]
    return float(slopes[index]), float(intercepts[index])


@dataclass(frozen=True, kw_only=True)
class CellDiagnostics:
    """A cell's diagnostics, means over its seeds; NaN where not logged.

    Attributes:
        overfitting: `overfitting`, mean squared TD error.
        validation_overfitting: the same with the TD error on validation transitions in place of the newest.
        parameter_norm: L2 norm of the critics' parameters at the end.
        critical_batch_size: B_crit, median over training.
    """

    task: str
    utd: float
    batch_size: float
    learning_rate: float
    overfitting: float
    validation_overfitting: float
    parameter_norm: float
    critical_batch_size: float


def critical_batch_curve(run: RunDiagnostics, window: int = 20) -> tuple[Floats, Floats]:
    """Env steps and B_crit of one run, shapes (n,), (n,); empty where gradient norms were not logged."""
    names = (f"critic_gradient_norm_squared_{SMALL_BATCH}", f"critic_gradient_norm_squared_{LARGE_BATCH}")
    if any(name not in run.values for name in names):
        return np.zeros(0), np.zeros(0)
    small, large = (np.asarray(run.values[name], dtype=np.float64) for name in names)
    known = np.isfinite(small) & np.isfinite(large)
    return run.env_steps[known].astype(np.float64), critical_batch_size(small[known], large[known], window=window)


def summarise_cells(runs: Sequence[RunDiagnostics]) -> list[CellDiagnostics]:
    """One summary per cell (task, σ, B, η), sorted by these."""
    groups: dict[tuple[str, float, float, float], list[RunDiagnostics]] = {}
    for run in runs:
        spec = run.spec
        groups.setdefault((spec.task, spec.utd, float(spec.batch_size), spec.learning_rate), []).append(run)
    cells = []
    for (task, utd, batch_size, learning_rate), members in sorted(groups.items()):
        cells.append(
            CellDiagnostics(
                task=task,
                utd=utd,
                batch_size=batch_size,
                learning_rate=learning_rate,
                overfitting=_mean([_overfitting(run, "td_error_newest") for run in members]),
                validation_overfitting=_mean([_overfitting(run, "td_error_validation") for run in members]),
                parameter_norm=_mean([last_value(run.values.get("critic_parameter_norm", [])) for run in members]),
                critical_batch_size=_mean([_median(critical_batch_curve(run)[1]) for run in members]),
            )
        )
    return cells


def _overfitting(run: RunDiagnostics, column: str) -> float:
    if column not in run.values or "td_error_uniform" not in run.values:
        return float("nan")
    return overfitting(run.values[column], run.values["td_error_uniform"])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
