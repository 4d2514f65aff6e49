"""Env steps of rows that have no names: in a column, or by a rule; and whether a column looks like them."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.errors import UserError
from tdscale.importers.raw import Columns
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
            raise UserError("--step-column: goes without --first-step and --step-every, which are for rows without env steps")
        return StepSource(column=column)
    if first is None and every is None:
        return None
    if first is None or not every:
        raise UserError("--first-step and --step-every go together: row r is env step F + E·r, e.g. --first-step 1000 --step-every 1000")
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
    if not re.fullmatch(r"=?[0-9]{1,15}", text):
        raise UserError(f"--{name.replace('_', '-')} {text}: must be a whole number, 0 or more")
    return int(text.removeprefix("="))
