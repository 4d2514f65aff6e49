"""The fit as the paper's authors made it, from crossings to σ*(F): `PAPER`, for `--method paper` (appendix D).

It follows `analysis/fit.py` with other steps (`analysis/method.py`): B*(σ) and η*(σ) go through the best cells of the sweep's
rows, and the data law is z(σ) = c + (σ/b)^(−a) by plain squared error, z the mean over tasks of D over the task's median.
"""

from collections.abc import Sequence

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.budget import BudgetRule
from tdscale.analysis.crossings import CrossingRule, Crossings, find_crossings
from tdscale.analysis.data_law import DataPoints, data_law, laws_of_thresholds
from tdscale.analysis.fit import Measured
from tdscale.analysis.fitted_laws import SYMBOLS, DataLaw, PowerLaw
from tdscale.analysis.form_fit import too_few
from tdscale.analysis.forms import OFFSET, FittedForm
from tdscale.analysis.hyperparameters import QUANTITIES, SweepLaws, fit_shared_slope, law_remarks, law_through
from tdscale.analysis.method import DEFAULT, OFFSETS, Method
from tdscale.analysis.scaling_laws import ScalingLaws
from tdscale.runs.types import Cell, RunWarning

_GRID = np.geomspace(0.01, 10.0, 400)
_ROUNDS = 60
_GOLDEN = (np.sqrt(5) - 1) / 2


class Paper(Method):
    """The authors' procedure."""

    name = "paper"
    title = "the authors’ procedure (paper)"
    crossing = CrossingRule(keep_duplicates=True, correct_variance=False, between_steps=False)
    budget = BudgetRule(grid_points=100, between_grid=False, use_edges=True)
    accounting = "paper"
    follows_published = True
    points_as_run = False
    any_aggregate = False
    knows_sizes = False
    no_new_task = "the paper's method scales a task by its median over all σ, which a new task does not have"

    def sweep_laws(self, cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...], seed: int) -> SweepLaws:
        utd, batch_sizes, learning_rates, values = _tensor(cells, crossings, tasks)
        # axes of `values`: draw (the point estimate first), task, σ, B, η, threshold
        grids = (batch_sizes, learning_rates)
        by_quantity = (values[..., -1], np.swapaxes(values, 3, 4)[..., -1])
        laws: list[PowerLaw | None] = []
        warnings: list[RunWarning] = []
        for quantity, grid, data in zip(QUANTITIES, grids, by_quantity, strict=True):
            draws = best_of_rows(data, grid)[1:]
            try:
                law = law_through(quantity, tasks, utd, self.best_values(draws), draws, offsets=self.offsets)
            except ValueError as error:
                laws.append(None)
                warnings.append(RunWarning("not-identified", f"{SYMBOLS[quantity]}(σ) can't be fitted: {error}", quantity))
                continue
            laws.append(law)
            warnings += law_remarks(law, _at_edge(law, grid))
        return laws[0], laws[1], warnings

    def data_laws(self, points: DataPoints, seed: int) -> tuple[list[DataLaw], list[RunWarning]]:
        medians = task_medians(points.data)
        # a draw in which a task never reaches anything keeps the task's scale
        medians = np.where(np.isnan(medians), medians[:1], medians)
        return laws_of_thresholds(points, lambda index: (_data_law(points, medians, index), None))

    def best_values(self, draws: Floats) -> Floats:
        """The arithmetic mean over the bootstrap's draws (D.1)."""
        return np.asarray(draws.mean(axis=0))

    def domain_batch_size(self, law: PowerLaw, utd: Floats) -> Floats:
        """The arithmetic mean over tasks."""
        known = [name for name, value in zip(law.tasks, law.coefficients, strict=True) if np.isfinite(value)]
        return np.asarray(np.mean([law.predict(utd, name) for name in known], axis=0))


class PaperWithOffsets(Paper):
    """The same with the offsets that they tried (D.2, D.3)."""

    name = f"paper{OFFSETS}"
    title = "the authors’ procedure (paper), B* and η* with offsets"
    offsets = True


PAPER = Paper()


def differences(laws: ScalingLaws, measured: Measured) -> list[RunWarning]:
    """Where B*(σ) or η*(σ) of the default fit differs from the authors' procedure on one sweep: 80 % intervals that exclude each other.

    Args:
        laws: fitted; those of another method than the default have no differences.
        measured: what they were fitted to.

    Returns:
        A remark for each of the two that differs; none without a sweep, of another aggregate than the authors' mean over seeds, or
        where no cell of the sweep reaches the highest J, by which their procedure chooses.
    """
    options = measured.options
    if laws.method is not DEFAULT or not measured.sweep or any(cell.aggregate != "mean" for cell in measured.sweep):
        return []
    # only the highest J decides there
    top = options.thresholds[-1:]
    crossings = find_crossings(measured.sweep, top, n_draws=options.n_draws, seed=options.seed, rule=PAPER.crossing)
    if not np.isfinite(crossings.data).any():
        return []
    found = []
    for ours, theirs in zip(
        (laws.batch_size, laws.learning_rate), PAPER.sweep_laws(measured.sweep, crossings, options.tasks, options.seed)[:2], strict=True
    ):
        if ours is None or theirs is None or ours.source != "sweep":
            continue
        here, there = ours.exponent_estimate, theirs.exponent_estimate
        if here.low <= there.high and there.low <= here.high:
            continue
        symbol = SYMBOLS[ours.quantity]
        message = (
            f"{symbol}(σ) by the paper's procedure (--method paper) goes as σ^{there}, here as σ^{here}: the page “Which B*(σ) and η*(σ)"
            " to believe” of the docs says why, and which is nearer to the truth"
        )
        found.append(RunWarning("differs-from-paper", message, ours.quantity))
    return found


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


def _tensor(cells: Sequence[Cell], crossings: Crossings, tasks: tuple[str, ...]) -> tuple[Floats, Floats, Floats, Floats]:
    """D_J on the sweep's grid: σ, B, η values, and D of shape (1 + n_draws, n_tasks, n_utds, n_B, n_η, n_thresholds)."""
    axes = [
        np.array(sorted({getattr(cell.spec, name) for cell in cells}), dtype=np.float64) for name in ("utd", "batch_size", "learning_rate")
    ]
    n_draws, n_thresholds = crossings.draws.shape[0], crossings.thresholds.size
    values = np.full((1 + n_draws, len(tasks), *(len(axis) for axis in axes), n_thresholds), np.nan)
    for index, cell in enumerate(cells):
        spec = cell.spec
        row = tasks.index(spec.task)
        i, j, k = (
            int(np.searchsorted(axis, value)) for axis, value in zip(axes, (spec.utd, spec.batch_size, spec.learning_rate), strict=True)
        )
        values[0, row, i, j, k] = crossings.data[index]
        values[1:, row, i, j, k] = crossings.draws[:, index]
    return axes[0], axes[1], axes[2], values


def _at_edge(law: PowerLaw, grid: Floats) -> str:
    """A sentence about best values at an end of the grid, of shape (n,), rising; empty where there are none."""
    known = law.points[np.isfinite(law.points)]
    # in logarithms, a best value nearer to an end than to the next point of the grid
    near = np.sqrt(grid[[0, -2]] * grid[[1, -1]]) if len(grid) > 1 else grid[[0, 0]]
    at_edge = int(((known < near[0]) | (known > near[1])).sum())
    if not at_edge:
        return ""
    return (
        f"{at_edge} of {known.size} best values of {SYMBOLS[law.quantity]} lie at an end of the grid ({grid[0]:g}"
        f" to {grid[-1]:g}); a wider grid would tell"
    )


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


def _data_law(points: DataPoints, medians: Floats, index: int) -> DataLaw:
    """The law at a threshold: censored cells are left out. `medians` has shape (1 + n_draws, n_tasks)."""
    data = points.data[..., index]
    ratio = np.where(np.isfinite(data), data, np.nan) / medians[..., None]
    keep = np.isfinite(ratio[0]).any(axis=0)
    if keep.sum() < 3:
        raise ValueError(too_few(points.utd, keep))
    z = np.stack([np.nanmean(np.where(np.isfinite(row).any(axis=0), row, 1.0), axis=0) for row in ratio[:, :, keep]])
    a, b, c = fit_plain(points.utd[keep], z)
    if b[0] == 0:
        raise ValueError("D does not fall with σ, and this law has no other form")
    scales = np.concatenate([medians, np.median(medians[:, np.isfinite(medians[0])], axis=1, keepdims=True)], axis=1)
    d_min = np.maximum(c, 1e-9)
    # β^α with β = b·c^(−1/a)
    log_ratio = np.where(b > 0, a * np.log(np.where(b > 0, b, 1.0)) - np.log(d_min), -np.inf)
    log_scale = np.log(d_min[:, None] * scales)
    parameters = np.repeat(np.stack([a, log_ratio], axis=-1)[:, None], scales.shape[1], axis=1)
    form = FittedForm(
        form=OFFSET,
        weight=1.0,
        log_scale=log_scale[0],
        parameters=parameters[0],
        log_scale_draws=log_scale[1:],
        parameter_draws=parameters[1:],
    )
    return data_law(points, index, (form,), np.zeros((len(a) - 1, 2)))


def task_medians(data: Floats) -> Floats:
    """Each task's median of D over all σ and all thresholds.

    Args:
        data: shape (..., n_tasks, n_utds, n_thresholds); infinity where never reached is left out.

    Returns:
        Shape (..., n_tasks); NaN for a task that never reaches any threshold.
    """
    finite = np.where(np.isfinite(data), data, np.nan)
    known = np.asarray(np.isfinite(finite).any(axis=(-2, -1)))
    return np.where(known, np.nanmedian(np.where(known[..., None, None], finite, 1.0), axis=(-2, -1)), np.nan)


def fit_plain(utd: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of z = c + (σ/b)^(−a), c ≥ 0 and b ≥ 0; given a it is linear in c and b^a, so the search is over a alone.

    In units of the median over tasks of the tasks' medians, M, it is the law of equation D.5 with D_min = c·M, α = a,
    β = b·c^(−1/a). (The authors print b where β belongs.)

    Args:
        utd: σ, shape (n_utds,).
        z: shape (n_fits, n_utds), finite.

    Returns:
        a, b, c, each of shape (n_fits,); b is 0, and c the mean, where D does not fall with σ.
    """
    loss = np.stack([_linear(utd, z, np.full(len(z), a))[0] for a in _GRID], axis=1)
    best = np.clip(np.argmin(loss, axis=1), 1, len(_GRID) - 2)
    low, high = np.log(_GRID[best - 1]), np.log(_GRID[best + 1])
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    for _ in range(_ROUNDS):
        go_left = _linear(utd, z, np.exp(left))[0] < _linear(utd, z, np.exp(right))[0]
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    a = np.exp((low + high) / 2)
    _, c, scale = _linear(utd, z, a)
    return a, scale ** (1 / a), c


def beta_of_plain(a: float, b: float, c: float) -> float:
    """β of equation D.5 for z = c + (σ/b)^(−a): b·c^(−1/a)."""
    return float(b * c ** (-1 / a))


def _linear(utd: Floats, z: Floats, a: Floats) -> tuple[Floats, Floats, Floats]:
    """Squared error, c ≥ 0 and b^a ≥ 0 of the best line of z > 0 over σ^(−a)."""
    x = utd[None, :] ** (-a[:, None])
    x_mean, z_mean = x.mean(axis=1, keepdims=True), z.mean(axis=1, keepdims=True)
    scale = ((x - x_mean) * (z - z_mean)).sum(axis=1) / ((x - x_mean) ** 2).sum(axis=1)
    scale = np.maximum(scale, 0.0)
    c = z_mean[:, 0] - scale * x_mean[:, 0]
    through_zero = (x * z).sum(axis=1) / (x**2).sum(axis=1)
    scale, c = np.where(c < 0, through_zero, scale), np.maximum(c, 0.0)
    return ((z - c[:, None] - scale[:, None] * x) ** 2).sum(axis=1), c, scale
