"""Tables of numbers without a header: which column holds env steps and which a return, by the options or by what the numbers show.

Arrays use the same rule for env steps (`importers.arrays`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale import amounts
from tdscale.errors import UserError
from tdscale.importers.logged_run import Columns, LoggedRun
from tdscale.runs.records import step_problem


@dataclass(frozen=True)
class StepSource:
    """Where env steps stand: in a column, or first + every·row."""

    column: int | None = None
    first: int = 0
    every: int = 1


def given_steps(columns: Columns) -> StepSource | None:
    """What --step-column, or --first-step and --step-every say; None without them. Raises UserError where they contradict."""
    column, first, every = (_whole(name, getattr(columns, name)) for name in ("step_column", "first_step", "step_every"))
    if column is not None:
        if first is not None or every is not None:
            raise UserError("--step-column: can't be combined with --first-step and --step-every, which are for rows without env steps")
        return StepSource(column=column)
    if first is None and every is None:
        return None
    if first is None or not every:
        raise UserError(
            "--first-step and --step-every must be given together: row r is env step F + E·r, e.g. --first-step 1000 --step-every 1000"
        )
    return StepSource(first=first, every=every)


def why_not_steps(values: NDArray[Any]) -> str | None:
    """Why numbers, shape (n,), don't look like env steps; None if they do: they rise in whole numbers, and not by one as rows do."""
    if step_problem(values) is not None:
        return "does not rise in whole numbers"
    if len(values) < 2:
        return "has one row"
    if (np.diff(values) == 1).all():
        return f"counts {values[0]:.0f}, {values[1]:.0f}, … as rows do"
    return None


def _whole(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    found = amounts.number(text.removeprefix("="))
    if found is None or not found.is_integer() or not 0 <= found < 1e15:
        raise UserError(f"--{name.replace('_', '-')} {text}: must be a whole number, 0 or more, e.g. 5k")
    return int(found)


Floats = NDArray[np.float64]


def headless_runs(
    path: Path, name: str, batches: Iterator[Floats], columns: Columns, remarks: Callable[[], tuple[tuple[str, str], ...]]
) -> Iterator[LoggedRun]:
    """The runs of a table: one, or one of each column but the env steps' where `Columns.step_column` says so.

    Args:
        path, name: of the file, and of the run.
        batches: its rows, arrays of shape (n, n_columns).
        columns: `env_step` and `returns` are numbers of columns, from 0.
        remarks: called when all is read.

    Raises:
        UserError: if it is not clear which column is which.
    """
    parts = list(batches)
    if not parts:
        raise UserError(f"{path}: holds no row")
    rows = np.concatenate(parts)
    said = remarks()
    steps, seeds = _columns(path, rows, columns)
    at = rows[:, steps.column] if steps.column is not None else steps.first + steps.every * np.arange(len(rows), dtype=np.float64)
    for place in seeds:
        yield LoggedRun(
            name=name,
            config={} if len(seeds) == 1 else {"seed": place},
            steps=at,
            returns=rows[:, place],
            nan_at_end_is_divergence=len(seeds) == 1,
            remarks=said if place == seeds[0] else (),
        )


def _columns(path: Path, rows: Floats, columns: Columns) -> tuple[StepSource, list[int]]:
    count = rows.shape[1]
    given = given_steps(columns)
    if given is not None:
        if given.column is not None and given.column >= count:
            raise UserError(f"{path}: has {count} columns, numbered from 0; --step-column {given.column} is not one of them")
        if columns.returns is None:
            others = [n for n in range(count) if n != given.column]
            if not others:
                raise UserError(f"{path}: has one column; it must have env steps and a return")
            return given, others
        return given, [_number(path, "--return", columns.returns, count)]
    if columns.env_step is not None and columns.returns is not None:
        step = _number(path, "--env-step", columns.env_step, count)
        return StepSource(column=step), [_number(path, "--return", columns.returns, count)]
    if count == 1:
        raise UserError(f"{path}: has one column, and no env steps; give --first-step F and --step-every E: row r is env step F + E·r")
    reasons = [why_not_steps(rows[:, n]) for n in range(count)]
    rising = [n for n, reason in enumerate(reasons) if reason is None]
    if count == 2 and len(rising) == 1:
        return StepSource(column=rising[0]), [1 - rising[0]]
    why = f"column 0 {reasons[0]}" if count == 2 and not rising else "it is not clear which column is which"
    raise UserError(
        f"{path}: has {count} columns without a header, and {why}; give --env-step 0 --return 1 (numbers of columns, from 0)"
        + (", or --step-column 0 if every other column is a seed's return" if count > 2 else "")
    )


def _number(path: Path, option: str, text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < count):
        raise UserError(f"{path}: has no header; {option} {text} must be the number of a column, from 0 to {count - 1}")
    return int(text)
