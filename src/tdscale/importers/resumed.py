"""One rule for runs that were resumed, in any log: where the env step falls back, what was logged beyond it is discarded.

A counter that begins at 0 again is recognised by the size of the fall and by the returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.logged_run import Floats, LoggedRun

_FEW = 5  # rows at either side of a fall whose returns are compared
_NEAR = 0.1  # of the env steps before: a fall to here may be a counter's new beginning
_MANY_FALLS = 0.1  # of the rows: these are not sessions, the rows are out of order
_CLEAR = 4.0  # standard errors by which returns must have moved to show anything


def as_one(run: LoggedRun, resumed: str | None) -> LoggedRun:
    """A run's rows in env steps that rise from session to session.

    Args:
        run: rows in the order in which they were logged, `begins` where sessions begin.
        resumed: "continue" or "restart", what the user says about a counter that starts again; None: the returns decide.

    Returns:
        The run without discarded rows, with a remark if something was done; unchanged if its rows are only out of order.

    Raises:
        UserError: if a counter starts again and nothing shows why.
    """
    if run.evaluations is not None:
        at, values = run.evaluations
        evaluated = as_one(LoggedRun(name=f"{run.name}, evaluations", config={}, steps=at, returns=values), resumed)
        if evaluated.steps is not at:
            run = replace(run, evaluations=(evaluated.steps, evaluated.returns))
    sessions = _sessions(run)
    if len(sessions) < 2:
        return run
    tape = _Tape(run, resumed)
    for first, end, start in sessions:
        if not tape.add(first, end, start):
            return run
    if not tape.said:
        return run
    kept = np.concatenate(tape.kept)
    return replace(
        run.take(kept),
        steps=np.concatenate(tape.steps),
        begins=joined([len(part) for part in tape.kept]),
        remarks=(*run.remarks, *(("resumed-run", f"{run.name}: {said}") for said in tape.said)),
        # what the rows that are left out came to
        last_step=int(min(run.last_step, tape.last)) if tape.cut else run.last_step,
    )


def _sessions(run: LoggedRun) -> list[tuple[int, int, float]]:
    """First row, end, and the env step that each session says it begins at (NaN: its first row's)."""
    steps = run.steps
    said = {row: at for row, at in run.begins if 0 < row < len(steps)}
    known = np.flatnonzero(np.isfinite(steps))
    if known.size < 2:
        return []
    falls = known[1:][np.diff(steps[known]) < 0]
    unsaid = [int(row) for row in falls if row not in said]
    if len(unsaid) > 1 + _MANY_FALLS * known.size or (not run.in_order and known.size < 2 * _FEW):
        unsaid = []
    cuts = [0, *sorted({*said, *(row for row in unsaid if not _jitter(steps, row))}), len(steps)]
    return [(first, end, said.get(first, np.nan)) for first, end in pairwise(cuts) if end > first]


def _jitter(steps: Floats, row: int) -> bool:
    """Whether a row is out of order by a few rows only, and no step is logged again."""
    before, after = steps[:row], steps[row:]
    last = np.nanmax(before)
    interval = _interval(before)
    again = after[after <= last]
    return bool(last - steps[row] <= 3 * interval and not np.isin(again, before).any())


def _interval(steps: Floats) -> float:
    rises = np.diff(steps)
    rises = rises[rises > 0]
    return float(np.median(rises)) if rises.size else 0.0


@dataclass
class _Tape:
    """Rows that count so far."""

    run: LoggedRun
    resumed: str | None

    def __post_init__(self) -> None:
        self.kept: list[NDArray[np.intp]] = []
        self.steps: list[Floats] = []
        self.said: list[str] = []
        self.cut = False
        self._offset = 0.0
        self._origin = 0.0  # env step at which the counter began that counts now
        self._begun: Floats = np.empty(0)  # the returns after that

    @property
    def last(self) -> float:
        known = [float(np.nanmax(steps)) for steps in self.steps if np.isfinite(steps).any()]
        return max(known, default=-np.inf)

    def add(self, first: int, end: int, start: float) -> bool:
        """One more session. False where the rows are to stay as they are."""
        rows = np.arange(first, end)
        raw = self.run.steps[rows]
        known = raw[np.isfinite(raw)]
        if known.size:
            # a session that says 0 says nothing
            begin = min(float(known[0]), start) if start > 0 else float(known[0])
            if not self.steps or not np.isfinite(self.last):
                self._origin, self._begun = begin, self._returns(rows)
            elif self._falls(begin, first) and not self._fallen(begin, rows, stated=start > 0):
                return False
        self.kept.append(rows)
        self.steps.append(raw + self._offset)
        return True

    def _falls(self, begin: float, first: int) -> bool:
        """Whether env steps fall at a row. A session that begins where the last one ended logs that row again."""
        at = begin + self._offset
        return at < self.last or (at == self.last and first in dict(self.run.begins))

    def _fallen(self, begin: float, rows: NDArray[np.intp], *, stated: bool) -> bool:
        last, at = self.last, begin + self._offset
        done = np.concatenate(self.steps)
        interval = _interval(done)
        near = not stated and at - self._origin <= max(3 * interval, _NEAR * (last - self._origin))
        means = "restart"
        if near:
            means = self.resumed or self._by_returns(rows, len(done)) or self._by_total(begin, last) or ""
            if not self.run.in_order and self.resumed is None and means != "continue":
                return False  # rows of a table may be those of several runs
            if not means:
                raise UserError(
                    f"{self.run.name}: its env steps fall from {last:,.0f} to {at:,.0f} and its returns do not show why; give --resumed "
                    "continue if only the counter started again there (its steps are added to those before), or --resumed restart if "
                    "what came before is to be discarded"
                )
        if means == "continue":
            self.said.append(f"its counter of env steps starts again after {last:,.0f}; the steps are added to those before")
            self._offset, self._origin, self._begun = last, last + begin, self._returns(rows)
            return True
        dead = int((done >= at).sum())
        alive = [steps < at for steps in self.steps]
        self.kept = [kept[live] for kept, live in zip(self.kept, alive, strict=True)]
        self.steps = [steps[live] for steps, live in zip(self.steps, alive, strict=True)]
        if dead:
            self.cut = True
            what = "1 row" if dead == 1 else f"{dead:,} rows"
            how = "it was started again" if near else f"it was resumed at env step {at:,.0f}"
            self.said.append(f"{how} after env step {last:,.0f}; what it had logged beyond is left out ({what})")
        if not any(steps.size for steps in self.steps):
            self._offset, self._origin, self._begun = 0.0, begin, self._returns(rows)
        return True

    def _by_returns(self, rows: NDArray[np.intp], done: int) -> str | None:
        """Whether the returns continue where they were, or start where they first started; None if they don't show it."""
        before = self._returns(np.concatenate(self.kept))
        if done <= 2:
            return "restart"  # too little to matter
        begun, ended, after = self._begun[:_FEW], before[-_FEW:], self._returns(rows)[:_FEW]
        if min(begun.size, ended.size, after.size) < 2:
            return None
        noise = _noise(np.concatenate([before[-4 * _FEW :], self._returns(rows)[: 4 * _FEW]]))
        error = noise * np.sqrt(1 / ended.size + 1 / after.size)
        gap = float(ended.mean() - begun.mean())
        if abs(gap) <= _CLEAR * error or not gap:
            return None
        place = float(after.mean() - begun.mean()) / gap
        room = error / abs(gap)
        return "continue" if place - room > 0.6 else "restart" if place + room < 0.4 else None

    def _by_total(self, begin: float, last: float) -> str | None:
        """By the env steps of a model saved beside the log."""
        total, end = self.run.total, float(np.nanmax(self.run.steps[-1:]))
        if total is None or not np.isfinite(end):
            return None
        added, alone = abs(last + end - total), abs(end - total)
        return None if min(added, alone) > 0.05 * total else "continue" if added < alone else "restart"

    def _returns(self, rows: NDArray[np.intp]) -> Floats:
        returns = self.run.returns[rows]
        return returns[np.isfinite(returns)]


def _noise(returns: Floats) -> float:
    """Standard deviation of single returns, from what neighbours differ by."""
    return float(np.median(np.abs(np.diff(returns)))) / 0.954 if returns.size > 1 else 0.0


def joined(lengths: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """Where sessions begin whose rows stand one after the other."""
    return tuple((int(row), float("nan")) for row in np.cumsum(lengths)[:-1])
