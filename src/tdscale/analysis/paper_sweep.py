"""The authors' way from a sweep to B and η: the best cells of each row, a line per task, the best cell of one σ (appendix D.1, D.4)."""

from collections.abc import Sequence

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.crossings import Crossings
from tdscale.analysis.laws import PowerLaw
from tdscale.analysis.power_law import fit_shared_slope
from tdscale.runs.types import Cell


def best_of_rows(data: Floats, values: Floats) -> Floats:
    """The value of a hyperparameter with the least D_J in each row of the other one, and the arithmetic mean over the rows.

    The smallest of equal values wins, also where nothing reaches J: then all are infinite.

    Args:
        data: D_J, shape (..., n_values, n_others), infinity where never reached, NaN where there is no such cell.
        values: the hyperparameter's grid, rising, shape (n_values,).

    Returns:
        Shape (...,); NaN where there is no cell at all.
    """
    present = ~np.isnan(data)
    # a missing cell loses against one that never reaches J
    order = np.where(present, np.where(np.isfinite(data), data, np.finfo(float).max), np.inf)
    best = values[np.argmin(order, axis=-2)]
    rows = present.any(axis=-2)
    count = rows.sum(axis=-1)
    return np.asarray(np.where(rows, best, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan))


def separate_laws(law: PowerLaw, leave_out: Sequence[float] = ()) -> tuple[PowerLaw, ...]:
    """A law of its own for each task, exponent and all, through the same best values; tasks with fewer than two of them are left out.

    The values alone are kept with a law, not their draws, so that these have no intervals.

    Args:
        law: the shared one.
        leave_out: σ that do not count. The authors' own separate fits leave σ = 8 out, their shared ones do not.
    """
    laws = []
    kept = ~np.isclose(law.utd[:, None], np.reshape(leave_out, (1, -1))).any(axis=1)
    for row, task in enumerate(law.tasks):
        points = law.points[row : row + 1]
        if np.isfinite(points[:, kept]).sum() < 2:
            continue
        line = fit_shared_slope(np.log(law.utd[kept]), np.log(points[:, kept]))
        laws.append(
            PowerLaw(
                quantity=law.quantity,
                tasks=(task,),
                exponent=float(line.slope),
                exponent_draws=np.empty(0),
                coefficients=np.exp(line.intercepts),
                coefficient_draws=np.empty((0, 1)),
                utd=law.utd,
                points=points,
                points_low=law.points_low[row : row + 1],
                points_high=law.points_high[row : row + 1],
                source=law.source,
            )
        )
    return tuple(laws)


def constant_baseline(cells: Sequence[Cell], crossings: Crossings, utd: float) -> dict[str, tuple[int, float]]:
    """(B, η) of each task's best cell at one σ of a sweep, to be kept for every σ; tasks that reach nothing there are left out.

    The highest threshold that one of the task's cells reaches decides; of equals the smallest B wins, then the smallest η.

    Args:
        cells: of a sweep.
        crossings: theirs.
        utd: the σ.
    """
    chosen = {}
    for task in dict.fromkeys(cell.spec.task for cell in cells):
        members = [i for i, cell in enumerate(cells) if cell.spec.task == task and np.isclose(cell.spec.utd, utd)]
        reached = np.flatnonzero(np.isfinite(crossings.data[members]).any(axis=0))
        if reached.size:
            top = reached[-1]
            best = min(members, key=lambda i: (crossings.data[i, top], cells[i].spec.batch_size, cells[i].spec.learning_rate))
            chosen[task] = (cells[best].spec.batch_size, cells[best].spec.learning_rate)
    return chosen
