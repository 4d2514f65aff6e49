"""`CurveRecorder`: what a run logs, turned into columns of equal length."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdscale.runs.types import DIAGNOSTICS, RETURN, in_order, is_column, is_diagnostic

EVALUATION = "evaluation_return"


class CurveRecorder:
    """One row per distinct env step; NaN where a column was not logged."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, float]] = {}

    def log(self, env_step: int, **values: float) -> None:
        """Record values at an env step, which never falls from one call to the next."""
        self._rows.setdefault(env_step, {}).update(values)

    def returns(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Env steps at which training episodes ended, and their raw returns; one that is not finite is left out."""
        ended = [(step, row[RETURN]) for step, row in self._rows.items() if np.isfinite(row.get(RETURN, np.nan))]
        return np.array([step for step, _ in ended], np.int64), np.array([value for _, value in ended], np.float64)

    def last_finite_diagnostics(self) -> dict[str, float]:
        """The newest row of diagnostics that are all finite, with its env step; empty where there is none."""
        for step, row in reversed(self._rows.items()):
            values = {name: value for name, value in row.items() if is_diagnostic(name)}
            if values and np.isfinite(list(values.values())).all():
                return {"env_step": step} | values
        return {}

    def columns(self) -> dict[str, NDArray[Any]]:
        """`env_step` (int64, strictly rising), returns and diagnostics of runs/types.py, and the norms of layers that were logged."""
        columns: dict[str, NDArray[Any]] = {"env_step": np.fromiter(self._rows, np.int64, len(self._rows))}
        logged = {name for row in self._rows.values() for name in row if is_column(name)}
        for name in in_order({RETURN, EVALUATION, *DIAGNOSTICS} | logged):
            columns[name] = np.array([row.get(name, np.nan) for row in self._rows.values()], np.float64)
        return columns

    def state(self) -> dict[str, NDArray[Any]]:
        """All values that were logged: env step, column (a place in `names`) and value of each, in their order, shape (n,)."""
        logged = [(step, name, value) for step, row in self._rows.items() for name, value in row.items()]
        names = sorted({name for _, name, _ in logged})
        places = {name: place for place, name in enumerate(names)}
        return {
            "steps": np.array([step for step, _, _ in logged], np.int64),
            "columns": np.array([places[name] for _, name, _ in logged], np.int64),
            "values": np.array([value for _, _, value in logged], np.float64),
            "names": np.array(names, str),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """The inverse of `state`."""
        self._rows = {}
        names = state["names"].tolist()
        for step, column, value in zip(state["steps"].tolist(), state["columns"].tolist(), state["values"].tolist(), strict=True):
            self.log(step, **{names[column]: value})
