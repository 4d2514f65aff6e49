"""A logged run's rows as a curve of the store: env steps that rise, one return each."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.logged_run import LoggedRun
from tdscale.runs.types import ENV_STEP, EVALUATION_RETURN, RETURN

Floats = NDArray[np.float64]
_LONGER = 10  # NaN at the end must last this many times longer than any NaN between returns to count as divergence


@dataclass(frozen=True, kw_only=True)
class CleanCurve:
    """Columns for the store and what had to be done to get them.

    Attributes:
        columns: env_step, return and, where logged, evaluation_return.
        last_step: env steps up to which the run was seen.
        diverged: whether its returns were finite and are NaN from some step to the end, at rows that log a return.
        unsorted, repeated, copies, not_finite: rows out of order, rows beyond the first of one env step, exact copies of rows, returns that
            are no finite number.
    """

    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]]
    last_step: int
    diverged: bool
    unsorted: int
    repeated: int
    copies: int
    not_finite: int


def clean(run: LoggedRun, repeated: str | None = None, *, series: bool = True) -> CleanCurve:
    """Sorted by env step, without returns that are not finite. Rows of one env step are never averaged to make them fit.

    Args:
        run: its rows in the order they were logged.
        repeated: as `Columns.repeated`.
        series: whether the rows are of one series of one run, as a logger keeps it: then rows of one env step, one after the other, are
            episodes of parallel environments, whose mean is taken. A table's rows may be anything.

    Raises:
        UserError: if an env step is negative, no whole number, or beyond 2^53; or if rows of one env step have different returns and
            nobody says why.
    """
    steps, returns = _known_steps(run.steps, run.returns, run.name)
    unsorted = int((np.diff(steps) < 0).sum())
    if repeated == "last":
        steps, returns = _continued(steps, returns)
    finite = np.isfinite(returns)
    copies = 0
    if not series:
        kept_rows = finite.copy()
        kept_rows[finite] = _first_of_copies(steps[finite], returns[finite])
        copies = int(finite.sum() - kept_rows.sum())
        rows = kept_rows | ~finite
        steps, returns, finite = steps[rows], returns[rows], finite[rows]
    if repeated is None:
        _refuse_repeats(run.name, steps[finite], returns[finite], series=series)
    order = np.argsort(steps, kind="stable")
    steps, returns = steps[order], returns[order]
    finite = np.isfinite(returns)
    diverged = run.nan_at_end_is_divergence and _diverged(finite, every_row=run.in_order)
    # a row without a return does not say that the run was there
    seen = steps if diverged else steps[finite]
    ends = [int(seen[-1])] if seen.size else []
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
        diverged=diverged,
        unsorted=unsorted,
        repeated=int(finite.sum()) - len(kept),
        copies=copies,
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


def passes(run: LoggedRun) -> list[LoggedRun]:
    """A run's rows as runs of their own: those that follow each other from the first env step to the last, or of each env step the k-th."""
    steps, returns = _known_steps(run.steps, run.returns, run.name)
    which = np.cumsum(np.diff(steps, prepend=steps[:1]) < 0)
    if (np.diff(steps) == 0).any():
        order = np.argsort(steps, kind="stable")
        starts = np.flatnonzero(np.diff(steps[order], prepend=np.nan) != 0)
        which = np.empty(len(steps), np.int64)
        which[order] = np.arange(len(steps)) - np.repeat(starts, np.diff(np.append(starts, len(steps))))
    parts = [which == k for k in range(int(which.max()) + 1)] if which.size else [np.ones(0, bool)]
    return [
        replace(run, name=f"{run.name}, pass {k}" if len(parts) > 1 else run.name, steps=steps[part], returns=returns[part])
        for k, part in enumerate(parts)
    ]


def _continued(steps: Floats, returns: Floats) -> tuple[Floats, Floats]:
    """Where the env step falls back, or stays, what was logged at it and beyond is replaced by what follows."""
    least_after = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    alive = steps < least_after
    return steps[alive], returns[alive]


def _first_of_copies(steps: Floats, returns: Floats) -> NDArray[np.bool_]:
    """Which rows are not the exact copy of an earlier one."""
    order = np.lexsort((np.arange(len(steps)), returns, steps))
    same = (np.diff(steps[order], prepend=np.nan) == 0) & (np.diff(returns[order], prepend=np.nan) == 0)
    first = np.ones(len(steps), bool)
    first[order[same]] = False
    return first


def one_curve(steps: Floats, returns: Floats) -> bool:
    """Whether rows of a table, in its order, can be one run's: no env step with several returns, no passes through the env steps."""
    known = np.isfinite(steps) & np.isfinite(returns)
    steps, returns = steps[known], returns[known]
    kept = _first_of_copies(steps, returns)
    return not _same_step(steps[kept]).size and not _far_falls(steps[kept]).size


def _same_step(steps: Floats) -> NDArray[np.intp]:
    """Pairs of rows with one env step, shape (n, 2)."""
    order = np.argsort(steps, kind="stable")
    again = np.flatnonzero(np.diff(steps[order]) == 0)
    return np.stack([order[again], order[again + 1]], axis=1)


def _far_falls(steps: Floats) -> NDArray[np.intp]:
    """Rows after which the env step falls back far, as where runs stand one after the other; none where the rows were shuffled."""
    falls = np.flatnonzero(np.diff(steps) < 0)
    if not falls.size or len(falls) > 0.1 * len(steps):
        return falls[:0]
    return falls[steps[falls] - steps[falls + 1] > 0.1 * np.ptp(steps)]


def _refuse_repeats(name: str, steps: Floats, returns: Floats, *, series: bool) -> None:
    """Raises UserError where rows of one env step, or passes through the env steps, can't be of one curve."""
    again = _same_step(steps)
    if series and not (np.diff(steps) < 0).any():
        return
    answers = (
        "give --repeated mean if they are episodes of parallel environments, --repeated last if the run was resumed and a later row "
        "replaces an earlier one, or --repeated seeds if they are several runs"
    )
    if again.size:
        first, second = again[0]
        what = f"{f'{len(again):,} rows have' if len(again) > 1 else 'a row has'} the env step of another row, but another return"
        raise UserError(f"{name}: {what} (at env step {steps[first]:g}: {returns[first]:g} and {returns[second]:g}); {answers}")
    far = _far_falls(steps)
    if not series and far.size:
        at = int(far[0])
        what = f"its env steps fall back {'once' if len(far) == 1 else f'{len(far)} times'}, first from {steps[at]:g} to {steps[at + 1]:g}"
        raise UserError(f"{name}: {what}, as if it held several runs, or one that was resumed; {answers}")


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
