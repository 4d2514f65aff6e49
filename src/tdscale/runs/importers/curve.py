"""A raw run's rows as a curve of the store: env steps that rise, one return each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.importers.raw import RawRun
from tdscale.runs.types import ENV_STEP, EVALUATION_RETURN, RETURN

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CleanCurve:
    """Columns for the store and what had to be done to get them.

    Attributes:
        columns: env_step, return and, where logged, evaluation_return.
        last_step: env steps up to which the run was seen.
        diverged: whether its returns are NaN from some step to the end.
        unsorted, repeated, not_finite: rows out of order, rows beyond the first of one env step, returns that are no finite number.
    """

    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]]
    last_step: int
    diverged: bool
    unsorted: int
    repeated: int
    not_finite: int


def clean(run: RawRun) -> CleanCurve:
    """Sorted by env step, the mean where rows share one, without returns that are not finite.

    Raises:
        UserError: if an env step is negative, no whole number, or beyond 2^53.
    """
    steps, returns = _known_steps(run.steps, run.returns, run.name)
    unsorted = int((np.diff(steps) < 0).sum())
    order = np.argsort(steps, kind="stable")
    steps, returns = steps[order], returns[order]
    finite = np.isfinite(returns)
    at_end = int(np.argmax(finite[::-1])) if finite.any() else len(finite)
    ends = [int(values[-1]) for values in (steps,) if values.size]
    kept, means = _means(steps[finite], returns[finite])
    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {ENV_STEP: kept.astype(np.int64), RETURN: means}
    if run.columns:
        # rows at which something else was logged stay, without a return
        logged = finite | np.any([np.isfinite(values) for values in run.columns.values()], axis=0)
        columns = {ENV_STEP: steps[logged].astype(np.int64), RETURN: np.where(finite, returns, np.nan)[logged]}
        columns |= {name: values[order][logged] for name, values in run.columns.items()}
    if run.evaluations is not None:
        at, values = _known_steps(*run.evaluations, run.name)
        order = np.argsort(at, kind="stable")
        at, values = at[order], values[order]
        ends += [int(at[-1])] if at.size else []
        known = np.isfinite(values)
        at, values = _means(at[known], values[known])
        every = np.union1d(kept, at)
        columns = {
            ENV_STEP: every.astype(np.int64),
            RETURN: _spread(every, kept, means),
            EVALUATION_RETURN: _spread(every, at, values),
        }
    return CleanCurve(
        columns=columns,
        last_step=max([run.last_step, *ends]),
        diverged=run.nan_at_end_is_divergence and at_end > 0,
        unsorted=unsorted,
        repeated=int(finite.sum()) - len(kept),
        not_finite=int((~finite).sum()),
    )


def _known_steps(steps: Floats, values: Floats, where: str) -> tuple[Floats, Floats]:
    """Without the rows whose env step is not known."""
    known = ~np.isnan(steps)
    steps, values = steps[known], values[known]
    bad = np.flatnonzero((steps < 0) | (steps > 2**53) | (steps != np.floor(steps)))
    if bad.size:
        raise UserError(f"{where}: {steps[bad[0]]:g} (row {int(bad[0])}) is not a count of env steps; --env-step must name whole numbers")
    return steps, values


def _means(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """The mean of the values at each step; `steps` is sorted."""
    at, first, counts = np.unique(steps, return_index=True, return_counts=True)
    return (at, np.add.reduceat(values, first) / counts) if at.size else (at, values)


def _spread(every: Floats, at: Floats, values: Floats) -> Floats:
    found = np.full(len(every), np.nan)
    found[np.searchsorted(every, at)] = values
    return found
