"""Validation TD error against B, by model size: do small networks overfit their targets with large batches (METHOD.md, section 7)?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.estimate import LEVEL, Estimate, short
from tdscale.analysis.sizes import Sizes
from tdscale.report.tables import Table
from tdscale.runs.types import RunDiagnostics

# the first one that a run logged: its TD error on transitions of validation environments, or what was imported as such
_COLUMNS = ("td_error_validation", "validation_critic_loss")
_LAST = 0.8  # of the env steps: the loss is averaged from here to the end


@dataclass(frozen=True, kw_only=True)
class SizeLoss:
    """Validation TD error of one task's cells with one size, and how it changes with B.

    Attributes:
        batch_sizes: B of the cells, shape (n_cells,).
        loss: their error, brought to the mean of the σ (and η) by the fit, same shape.
        slope: d log(error)/d log B, at one σ (and η).
        line: log error at B = 1 on that line.
    """

    task: str
    size: str
    model_size: float
    batch_sizes: Floats
    loss: Floats
    slope: Estimate
    line: float

    def predict(self, batch_size: Floats) -> Floats:
        """The fitted error at B, of the same shape."""
        return np.asarray(np.exp(self.line + self.slope.value * np.log(batch_size)))

    @property
    def verdict(self) -> str:
        """The slope in a word."""
        if np.isnan(self.slope.low) or self.slope.holds_zero:
            return "no clear change"
        return "rises with B" if self.slope.value > 0 else "falls with B"


def losses_by_size(runs: Sequence[RunDiagnostics], tasks: Sequence[str], sizes: Sizes | None) -> list[SizeLoss]:
    """By task, as `tasks` has them, and size, N rising. Empty without sizes, without such losses, or where B was not varied.

    The error changes as training goes on, so that cells of one task, size and σ are compared over the same env steps: the last fifth
    before the end of the shortest of them, a cell's end being the median of its seeds'. Seeds that end before it are left out. A cell's
    error is the geometric mean over its seeds. By least squares log error = level(σ) + slope·log B, and a slope in log η where η was
    varied.
    """
    if sizes is None:
        return []
    found = []
    for task in tasks:
        for name, model_size in zip(sizes.names, sizes.model_size, strict=True):
            cells = _cells([run for run in runs if run.spec.task == task and run.size == name])
            if len({batch for _, batch, _ in cells}) > 1:
                found.append(_fit(task, name, model_size, cells))
    return found


def _cells(runs: Sequence[RunDiagnostics]) -> Mapping[tuple[float, float, float], float]:
    """log error by (σ, B, η)."""
    of_cell: dict[tuple[float, float, float], list[int]] = {}
    for run in runs:
        of_cell.setdefault(_cell_of(run), []).append(int(run.env_steps[-1]))
    ends: dict[float, float] = {}
    for (utd, *_), steps in of_cell.items():
        ends[utd] = min(ends.get(utd, np.inf), float(np.median(steps)))
    logs: dict[tuple[float, float, float], list[float]] = {}
    for run in runs:
        column = next((name for name in _COLUMNS if name in run.values), None)
        if column is None or run.env_steps[-1] < ends[run.spec.utd]:
            continue
        end, values = ends[run.spec.utd], run.values[column]
        use: Bools = (run.env_steps >= _LAST * end) & (run.env_steps <= end) & np.isfinite(values)
        mean = float(values[use].mean()) if use.any() else 0.0
        if mean > 0:
            logs.setdefault(_cell_of(run), []).append(float(np.log(mean)))
    return {cell: float(np.mean(values)) for cell, values in sorted(logs.items())}


def _cell_of(run: RunDiagnostics) -> tuple[float, float, float]:
    return run.spec.utd, float(run.spec.batch_size), run.spec.learning_rate


def _fit(task: str, size: str, model_size: float, cells: Mapping[tuple[float, float, float], float]) -> SizeLoss:
    utd, batch, rate = np.array(list(cells)).T
    log_loss = np.array(list(cells.values()))
    levels = (utd[:, None] == np.unique(utd)).astype(np.float64)
    others = [np.log(rate) - np.log(rate).mean()] if len(np.unique(rate)) > 1 else []
    design = np.column_stack([np.log(batch), levels, *others])
    solution, _, rank, _ = np.linalg.lstsq(design, log_loss, rcond=None)
    at_mean = float((levels @ solution[1 : 1 + levels.shape[1]]).mean())
    rest = log_loss - design @ solution
    slope, freedom = float(solution[0]), len(log_loss) - int(rank)
    half = np.nan
    if freedom > 0 and rank == design.shape[1]:
        covariance = np.linalg.inv(design.T @ design) * float(rest @ rest) / freedom
        half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(covariance[0, 0]))
    return SizeLoss(
        task=task,
        size=size,
        model_size=model_size,
        batch_sizes=batch,
        loss=np.exp(at_mean + slope * np.log(batch) + rest),
        slope=Estimate(slope, slope - half, slope + half),
        line=at_mean,
    )


def losses_table(losses: Sequence[SizeLoss]) -> Table:
    """The slope of each task and size."""
    frame = pd.DataFrame(
        [
            (one.task, one.size, one.model_size, len(one.batch_sizes), one.slope.value, one.slope.low, one.slope.high, one.verdict)
            for one in losses
        ],
        columns=["task", "size", "N", "cells", "slope", "low", "high", "verdict"],
    )
    shown = pd.DataFrame(
        [(one.task, one.size, short(one.model_size), str(len(one.batch_sizes)), str(one.slope), one.verdict) for one in losses],
        columns=["task", "size", "N", "cells", "slope in log B", ""],
    )
    return Table(
        name="validation_error",
        title="Validation TD error against B, by size",
        note="Slope of the logarithm of the TD error on validation transitions against log B, at one σ, with its 80 % interval. 0.1: 7 % "
        "more for twice the B.",
        frame=frame,
        shown=shown,
    )
