"""Crossings: the data D_J a cell needs to reach a return threshold J (docs/method.md).

D_J lies between two logged steps, also where points after a reset are left out: the return logged just before was seen to be
below J.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.estimate import Estimate, short
from tdscale.runs.types import Cell, RunWarning, over_seeds, seeds_trimmed

if TYPE_CHECKING:
    import pandas as pd

_MOST = 0.5  # of a task's cells


@dataclass(frozen=True, kw_only=True)
class CrossingRule:
    """How D_J and its draws are read off the curves of a cell's seeds.

    Attributes:
        keep_duplicates: whether copies of a seed count.
        correct_variance: whether the bootstrap's variance is corrected for few seeds (`bootstrap_weights`), where their mean is taken.
        between_steps: whether D_J lies anywhere between two logged steps: the point estimate in the middle, a draw uniform. If
            not, it is the first logged step at or above J.
    """

    keep_duplicates: bool = False
    correct_variance: bool = True
    between_steps: bool = True


DEFAULT_RULE = CrossingRule()


def first_crossing(returns: ArrayLike, thresholds: ArrayLike, *, counted: ArrayLike | None = None) -> NDArray[np.intp]:
    """Index at which the isotonic regression of a curve first reaches each threshold.

    The regression itself is never computed: its first index at or above J is the smallest k that minimises
    P_k = Σ_{i<k}(y_i − J), k = 0…n, because there the best non-decreasing fit passes from below J to J or above.

    Args:
        returns: return at each logged step, shape (..., n_steps), in the units of `thresholds`.
        thresholds: shape (n_thresholds,).
        counted: which points there are, of the returns' shape: the others are left out before the fit. None = all.

    Returns:
        Shape (..., n_thresholds), indices among all steps. The value n_steps means "never reached": the cell is censored at its last step.

    Raises:
        ValueError: if `returns` holds NaN or infinity; says where the first one is.
    """
    values = np.asarray(returns, dtype=np.float64)
    levels = np.asarray(thresholds, dtype=np.float64)
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(f"returns{list(where)} is {values[where]}; a curve must be finite")
    steps = np.arange(values.shape[-1] + 1, dtype=np.float64)
    points = None if counted is None else np.asarray(counted, dtype=bool)
    if points is not None:
        # a point that adds nothing to P is not there
        values, steps = np.where(points, values, 0.0), _from_zero(points)
    prefix = _from_zero(values)
    result = np.empty((*values.shape[:-1], levels.size), dtype=np.intp)
    for index, level in enumerate(levels):
        result[..., index] = np.argmin(prefix - level * steps, axis=-1)
    return result if points is None else np.take_along_axis(_next_point(points), result, axis=-1)


def _from_zero(values: NDArray[Any]) -> Floats:
    """Prefix sums, shape (..., n) to (..., n + 1)."""
    return np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)


def _next_point(points: Bools) -> NDArray[np.intp]:
    """Index of the first point at or after each index 0…n, shape (..., n) to (..., n + 1); n where none is left."""
    count = points.shape[-1]
    own = np.where(points, np.arange(count), count)
    own = np.concatenate([own, np.full((*own.shape[:-1], 1), count)], axis=-1)
    return np.minimum.accumulate(own[..., ::-1], axis=-1)[..., ::-1]


def recovered(returns: ArrayLike, env_steps: ArrayLike, resets: Sequence[float]) -> Bools:
    """Which points of curves count where networks were reset: those between a reset and recovery do not.

    A curve has recovered once it is again at or above its last value that counts before the reset. A reset before that changes
    nothing. A point logged at the very env step of a reset lies before it or after it, whichever makes the sum of the drops at
    the resets larger; that is how the log was written, so the first curve decides it for all of them.

    Args:
        returns: shape (n_curves, n_steps).
        env_steps: shape (n_steps,), rising.
        resets: env steps, rising.

    Returns:
        Shape (n_curves, n_steps). The points before the first reset are True.
    """
    values, steps = np.asarray(returns, dtype=np.float64), np.asarray(env_steps)
    first, sides = values[0], [np.unique(np.searchsorted(steps, resets, side=side)) for side in ("right", "left")]
    sides = [after[(after > 0) & (after < len(steps))] for after in sides]
    drops = [float((first[after - 1] - first[after]).sum()) for after in sides]
    counted = np.ones(values.shape, dtype=bool)
    for after in sides[int(drops[1] > drops[0])]:
        last = after - 1 - np.argmax(counted[:, :after][:, ::-1], axis=1)
        below = values[:, after:] < np.take_along_axis(values, last[:, None], axis=1)
        counted[:, after:] &= ~np.logical_and.accumulate(below, axis=1)
    return counted


def bootstrap_weights(n_seeds: int, n_draws: int, rng: np.random.Generator, *, correct: bool = True) -> Floats:
    """Weights of the seeds in each bootstrap mean, shape (n_draws, n_seeds); each row sums to 1.

    Resampling n seeds with replacement gives means whose variance is (n − 1)/n of the unbiased one. With `correct` the
    deviations from equal weights are stretched by √(n/(n − 1)), which matters for 3 to 10 seeds.
    """
    counts = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_draws)
    weights = counts / n_seeds
    if correct and n_seeds > 1:
        weights = 1 / n_seeds + np.sqrt(n_seeds / (n_seeds - 1)) * (weights - 1 / n_seeds)
    return weights


def _replicates(cell: Cell, n_draws: int, rng: np.random.Generator, rule: CrossingRule) -> Floats:
    """The curve over the seeds and, behind it, those over bootstrap resamples of them, shape (1 + n_draws, n_steps).

    Of few seeds a resample's mean varies too little and is corrected. An interquartile mean or median is not: whole seeds among the
    middle ones are exchanged, and that varies as much as it should from four seeds on (docs/method.md).
    """
    returns, aggregate = cell.counted_returns(keep_duplicates=rule.keep_duplicates), cell.aggregate
    count = len(returns)
    if not seeds_trimmed(aggregate, count):
        weights = bootstrap_weights(count, n_draws, rng, correct=rule.correct_variance)
        # one pass: the plain mean first, the replicates behind it
        mixed = np.concatenate([np.full((1, count), 1 / count), weights]) @ returns
        if not rule.between_steps:
            mixed[0] = returns.mean(axis=0)
        return mixed
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=n_draws)
    resampled = (over_seeds(np.repeat(returns, times, axis=0), aggregate) for times in drawn)
    return np.stack([over_seeds(returns, aggregate), *resampled])


def cell_curve(cell: Cell, *, keep_duplicates: bool = False) -> tuple[Floats, Bools]:
    """What is taken over a cell's seeds at each logged step, and which points the isotonic fit is made to; each of shape (n_steps,).

    Args:
        cell: the seeds.
        keep_duplicates: whether copies of a seed count.
    """
    curve = over_seeds(cell.counted_returns(keep_duplicates=keep_duplicates), cell.aggregate)
    return curve, recovered(curve[None], cell.env_steps, cell.resets)[0]


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """D_J of every cell at every threshold.

    Attributes:
        thresholds: J, shape (n_thresholds,), normalised return.
        data: D_J in env steps, shape (n_cells, n_thresholds); infinity stands for "more than `bound`" (censored).
        lower: env step before the crossing, same shape: D_J lies in (lower, upper]; the bound where censored.
        upper: env step logged at the crossing, same shape; infinity where censored.
        bound: last env step seen, shape (n_cells,).
        draws: bootstrap replicates of `data`, shape (n_draws, n_cells, n_thresholds).
        places: task, σ, B and η of each cell.
    """

    thresholds: Floats
    data: Floats
    lower: Floats
    upper: Floats
    bound: Floats
    draws: Floats
    places: tuple[tuple[str, float, int, float], ...] = ()

    def to_frame(self) -> "pd.DataFrame":
        """A row for each cell and J: D with its 80 % interval, infinite where the cell never reaches J by its last step, `bound`."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for cell, (task, utd, batch_size, learning_rate) in enumerate(self.places):
            for place, threshold in enumerate(self.thresholds):
                found = Estimate.from_draws(float(self.data[cell, place]), self.draws[:, cell, place])
                row = {"task": task, "utd": utd, "batch_size": batch_size, "learning_rate": learning_rate, "threshold": float(threshold)}
                rows.append(row | {"value": found.value, "low": found.low, "high": found.high, "bound": float(self.bound[cell])})
        columns = ["task", "utd", "batch_size", "learning_rate", "threshold", "value", "low", "high", "bound"]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        return str(self.to_frame().head(20).to_html(index=False, float_format=lambda value: short(float(value))))

    @property
    def censored(self) -> Bools:
        """Shape (n_cells, n_thresholds)."""
        return ~np.isfinite(self.data)


def find_crossings(
    cells: Sequence[Cell], thresholds: ArrayLike, *, n_draws: int, seed: int, rule: CrossingRule = DEFAULT_RULE
) -> Crossings:
    """Crossings of every cell, with bootstrap draws over its seeds.

    Args:
        cells: curves on their own grids.
        thresholds: J, shape (n_thresholds,), normalised return.
        n_draws: bootstrap replicates.
        seed: of the draws. Each cell's generator depends on this and on the cell alone, not on the other cells.
        rule: how D_J is read off a cell's curves.
    """
    levels = np.asarray(thresholds, dtype=np.float64)
    shape = (len(cells), levels.size)
    data, lower, upper = np.empty(shape), np.empty(shape), np.empty(shape)
    bound = np.array([cell.last_step for cell in cells], dtype=np.float64)
    draws = np.empty((n_draws, *shape))
    for index, cell in enumerate(cells):
        rng = np.random.default_rng([seed, int(cell.spec.cell_id, 16)])
        mixed = _replicates(cell, n_draws, rng, rule)
        # each replicate recovers in its own time: the bootstrap is of all that is done to the seeds
        counted = recovered(mixed, cell.env_steps, cell.resets) if cell.resets else None
        crossing = first_crossing(mixed, levels, counted=counted)
        edges = _edges(cell)
        # J at env step 0 already: within the first steps, since D = 0 has no logarithm
        top, below = np.maximum(edges[1:], edges[edges > 0][0])[crossing], edges[:-1][crossing]
        inside = np.concatenate([[[0.5]], rng.random((n_draws, 1))]) if rule.between_steps else np.zeros((1, 1))
        values = np.where(np.isfinite(top), top - inside * (np.where(np.isfinite(top), top, 0.0) - below), np.inf)
        data[index], upper[index] = values[0], top[0]
        lower[index] = np.where(np.isfinite(top[0]), below[0], bound[index])
        draws[:, index] = values[1:]
    places = tuple((cell.spec.task, cell.spec.utd, cell.spec.batch_size, cell.spec.learning_rate) for cell in cells)
    return Crossings(thresholds=levels, data=data, lower=lower, upper=upper, bound=bound, draws=draws, places=places)


def reached_at_start(cells: Sequence[Cell], crossings: Crossings) -> list[RunWarning]:
    """One warning that names the thresholds which tasks' curves reach before anything is learned, and the tasks; none if there are none.

    A cell reaches J so early if it crosses it by its first logged env step, or by the last one of warm-up, in which actions are
    random. A threshold of a task is named if at least half of its cells do.

    Args:
        cells: of one stage.
        crossings: theirs, in the same order.
    """
    tasks = np.array([cell.spec.task for cell in cells])
    start = np.array([max(float(cell.env_steps[0]), cell.costs.get("warm_up", 0.0)) for cell in cells])
    early = crossings.upper <= start[:, None]
    named = []
    for task in dict.fromkeys(tasks.tolist()):
        often = crossings.thresholds[early[tasks == task].mean(axis=0) >= _MOST]
        if often.size:
            named.append(f"{task} (J = {', '.join(f'{level:.4g}' for level in often)})")
    if not named:
        return []
    message = (
        f"{', '.join(named)}: at least half of the cells reach these thresholds within warm-up or by the first logged point, so that"
        " their D_J says nothing of σ; raise the thresholds, or set low to the return of a random or idle policy (if the first point"
        " comes late, log more often)"
    )
    return [RunWarning("reached-at-start", message, "return_thresholds")]


def _edges(cell: Cell) -> Floats:
    """Edges of the intervals between logged steps, shape (n_steps + 2,): the last one, above them all, means "never"."""
    steps = cell.env_steps.astype(np.float64)
    gap = steps[1] - steps[0] if len(steps) > 1 else steps[0]
    return np.concatenate([[max(steps[0] - gap, 0.0)], steps, [np.inf]])
