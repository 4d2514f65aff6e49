"""A raw run's rows as a curve of the store: env steps that rise, one return each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.runs.importers.raw import RawRun
from tdscale.runs.types import ENV_STEP, EVALUATION_RETURN, RETURN

Floats = NDArray[np.float64]
_LONGER = 10  # times: by this much NaN at the end goes on longer than it does between returns


@dataclass(frozen=True, kw_only=True)
class CleanCurve:
    """Columns for the store and what had to be done to get them.

    Attributes:
        columns: env_step, return and, where logged, evaluation_return.
        last_step: env steps up to which the run was seen.
        diverged: whether its returns were finite and are NaN from some step to the end, at rows that log a return.
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
    diverged = run.nan_at_end_is_divergence and _diverged(finite, every_row=run.in_order)
    # a row without a return does not say that the run was there
    seen = steps if diverged else steps[finite]
    ends = [int(seen[-1])] if seen.size else []
    kept, means = _means(steps[finite], returns[finite])
    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {ENV_STEP: kept.astype(np.int64), RETURN: means}
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
        diverged=diverged,
        unsorted=unsorted,
        repeated=int(finite.sum()) - len(kept),
        not_finite=int((~finite).sum()),
    )


def _diverged(finite: NDArray[np.bool_], *, every_row: bool) -> bool:
    """Whether a curve that was finite is NaN to its end. NaN between returns is what a log has where it logs none.

    Args:
        finite: of each row, by env step.
        every_row: whether rows are those that log a return; a table's may be those of other keys.
    """
    known = np.flatnonzero(finite)
    if not known.size or finite[-1]:
        return False
    between = int(np.diff(known).max(initial=1)) - 1
    at_end = len(finite) - 1 - int(known[-1])
    return between == 0 or (every_row and at_end > _LONGER * between)


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
