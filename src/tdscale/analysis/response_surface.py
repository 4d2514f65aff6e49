"""The response surface of a sweep: log D as a smooth function of B and η, fitted to all cells at once, with draws of it.

For the cell with B, η at (task, σ)

    log D = level[task, σ] + bowl_B(log B − log B*[task, σ]) + bowl_η(log η − log η*[task, σ]) + noise,
    log B*[task, σ] = intercept_B[task] + slope_B·log σ + deviation_B[task, σ],      η* likewise.

Where networks of several sizes were run, a place is a (task, σ, N), and the laws have a part for N (`size_law`): −log(1 + b·N^(−β)) for B,
a slope in log N for η.

The bowls' shape is shared by all tasks and σ, their curvature by all σ and partly by the tasks. Deviations and the tasks'
curvatures are drawn towards what is shared, the former as strongly as the data say. The noise is Student-t, wider by task and
with the height above the best; a censored cell says "more than its last step". Gauss–Newton finds the most probable surface,
and the variances follow from what it leaves.

`surface_fit.py` fits it, draws and all; `hyperparameters.py` takes B*(σ) and η*(σ) from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.bowls import EDGES, N_RANGES, bowl, bowl_width, range_middles

# What is taken for likely before the data speak. All in natural logarithms, so that no unit matters.
TYPICAL_CURVATURE = 2 * np.log(1.25) / np.log(4.0) ** 2  # a value 4 times too large or small costs 25 % more data …
CURVATURE_SPREAD = 1.0  # … give or take a factor of e,
TASK_CURVATURE_SPREAD = 0.5  # and the tasks differ by this much among themselves
SHAPE_SPREAD = 0.7  # as does a bowl's curvature from place to place; a factor of 3 away it is another one
SLOPE_SPREAD = 1.0
WITHIN_ONE_STEP = 1.2816  # 4 of 5 best values lie within the grid or one step beyond its ends
# with offsets: their log over the rest of the law, at the mean log σ
OFFSET_SHARE, OFFSET_SPREAD = -1.0, 1.5
# with sizes: the slope in log N at the mean log N; where it levels off, log of 1/(b·N^(−β)) there
SIZE_SLOPE_SPREAD = 0.25
LEVEL_SHARE, LEVEL_SPREAD = -2.0, 2.0  # nearly a plain slope, unless the runs say more
DEVIATION, DEVIATION_WEIGHT = 0.15, 3.0  # of the best values from their law: worth so many (task, σ)
_LEVEL_SPREAD = 30.0
TASK_NOISE_WEIGHT = 20.0  # of the noise that tasks share, worth so many cells
_TAIL = 5.0  # degrees of freedom of the noise
TELLS = (_TAIL + 1) / (_TAIL + 3)  # Fisher information about a place of such noise, over that of normal noise of its scale
_LEAST_NOISE, _MISFIT_RANGE = 1e-8, (1e-3, 1.0)
_START_SLOPES = (0.0, -0.8, 0.8)
_TRIAL_ITERATIONS, _ITERATIONS = 12, 25


@dataclass(frozen=True, kw_only=True)
class SweepCells:
    """The cells of a sweep, gathered into places (task, σ), or (task, σ, N) with sizes, and padded to the fullest of them.

    Attributes:
        task: index of each place's task, shape (n_places,).
        log_utd: shape (n_places,).
        values: log of the swept hyperparameters, shape (n_places, n_cells, n_quantities).
        log_data: log D, shape (..., n_places, n_cells); log of the last step where censored.
        censored: D is more than that; same shape.
        present: False where padded, shape (n_places, n_cells).
        n_tasks: those without a place count.
        seeds: of each cell, shape (n_places, n_cells); None: the same number in every cell.
        grids: log of the values that each hyperparameter may take, which the prior is made from; None: those of the cells.
        log_size: log N, shape (n_places,); None, or the same N everywhere: the laws have no part for N.
    """

    task: NDArray[np.intp]
    log_utd: Floats
    values: Floats
    log_data: Floats
    censored: Bools
    present: Bools
    n_tasks: int
    seeds: Floats | None = None
    grids: tuple[Floats, ...] | None = None
    log_size: Floats | None = None

    def noise_share(self) -> Floats:
        """Variance of each cell's noise over that of a cell with the median number of seeds, shape (n_places, n_cells)."""
        if self.seeds is None:
            return np.ones(self.present.shape)
        return np.asarray(np.median(self.seeds[self.present]) / np.maximum(self.seeds, 1.0))


@dataclass(frozen=True, kw_only=True)
class State:
    """A surface and its variances.

    Attributes:
        shared: shape (n_quantities, n_shared): intercepts at the mean log σ, slope, log curvature, what gives the bowl its shape, what
            the tasks have over that; log offset; slope in log N at the mean log N and log of the level.
        local: shape (n_places, 1 + n_quantities): level, deviations from the law.
        noise: variance of a cell near the best with the median number of seeds, shape (n_tasks,).
        misfit: variance that is added for each squared unit of log D above the best.
        deviation: standard deviation of the deviations, shape (n_quantities,).
    """

    shared: Floats
    local: Floats
    noise: Floats
    misfit: float
    deviation: Floats


@dataclass(frozen=True, kw_only=True)
class Equations:
    """The normal equations at a state, with the places' own parameters eliminated (Schur's complement).

    Attributes:
        by_shared, by_local: slopes of the surface, shape (n_places, n_cells, n_parameters).
        weight, variance, excess: of each cell; excess is the height above the best.
        cross: of local and shared parameters, shape (n_places, n_local, n_parameters).
        local_inverse: given the shared ones, shape (n_places, n_local, n_local); shared_inverse: the shared ones' covariance.
    """

    by_shared: Floats
    by_local: Floats
    weight: Floats
    cross: Floats
    local_inverse: Floats
    shared_inverse: Floats
    variance: Floats
    excess: Floats


class SurfaceModel:
    """The surface of one sweep, as functions of its parameters."""

    def __init__(self, sweep: SweepCells, *, offsets: bool = False, levels: Sequence[bool] = ()) -> None:
        """The model of these cells.

        Args:
            sweep: the cells.
            offsets: whether best values follow B_min + β·σ^(−α).
            levels: for each hyperparameter whether its best value levels off with N; empty: none does. Without sizes nothing changes.
        """
        self.sweep = sweep
        self.offsets = offsets
        self.n_places, self.n_cells, self.n_quantities = sweep.values.shape
        n_tasks = self.n_tasks = sweep.n_tasks
        self.slope, self.curvature, self.side, tasks_from = n_tasks, n_tasks + 1, n_tasks + 2, n_tasks + 2 + N_RANGES
        self.of_task = slice(tasks_from, tasks_from + n_tasks)
        self.sizes = sweep.log_size is not None and len(np.unique(sweep.log_size)) > 1
        self.offset, self.size_slope = self.of_task.stop, self.of_task.stop + offsets
        self.level = self.size_slope + 1
        self.n_shared = 2 * n_tasks + 2 + N_RANGES + offsets + 2 * self.sizes
        self.noise_share = sweep.noise_share()
        self.centre = float(sweep.log_utd.mean())
        self.x = sweep.log_utd - self.centre
        self.size_centre = float(sweep.log_size.mean()) if self.sizes and sweep.log_size is not None else 0.0
        self.levels = np.array(levels or [False] * self.n_quantities)[:, None]
        self.prior_mean = np.zeros((self.n_quantities, self.n_shared))
        spread = np.empty_like(self.prior_mean)
        for index in range(self.n_quantities):
            grid = np.unique(sweep.values[..., index][sweep.present]) if sweep.grids is None else sweep.grids[index]
            self.prior_mean[index, :n_tasks] = (grid[0] + grid[-1]) / 2
            reach = (grid[-1] - grid[0]) * (0.5 + 1 / max(len(grid) - 1, 1))
            spread[index, :n_tasks] = reach / WITHIN_ONE_STEP
        self.prior_mean[:, self.curvature] = np.log(TYPICAL_CURVATURE)
        spread[:, self.slope], spread[:, self.curvature] = SLOPE_SPREAD, CURVATURE_SPREAD
        spread[:, self.side : self.of_task.start], spread[:, self.of_task] = 1.0, TASK_CURVATURE_SPREAD
        if offsets:
            self.prior_mean[:, self.offset], spread[:, self.offset] = OFFSET_SHARE, OFFSET_SPREAD
        if self.sizes:
            spread[:, self.size_slope] = SIZE_SLOPE_SPREAD
            self.prior_mean[:, self.level], spread[:, self.level] = LEVEL_SHARE, LEVEL_SPREAD
        # log curvature along the bowl varies as a random walk that is drawn back to 0
        middles = range_middles()
        covariance = SHAPE_SPREAD**2 * np.exp(-np.abs(middles[:, None] - middles) / EDGES[-1])
        self.mixing: Floats = np.linalg.cholesky(covariance).astype(np.float64, copy=False)
        self.prior_spread = spread

    def start(self, slope: float, deviation: float = 2 * DEVIATION) -> State:
        """What is likely before the data speak, with a slope of the laws, and their deviations."""
        local = np.zeros((self.n_places, 1 + self.n_quantities))
        usable = self.sweep.present & ~self.sweep.censored
        local[:, 0] = np.where(usable, self.sweep.log_data, np.inf).min(axis=1)
        shared = self.prior_mean.copy()
        shared[:, self.slope] = slope
        return State(
            shared=shared,
            local=local,
            noise=np.full(self.n_tasks, 0.02),
            misfit=0.1,
            deviation=np.full(self.n_quantities, deviation),
        )

    def solve(self, iterations: int = _ITERATIONS) -> State:
        """The most probable surface: the likelihood may have several peaks, and the highest of those reached is improved so many times.

        They are reached from falling, constant and rising best values. With sizes, whose places have few cells each, also from places
        that follow their law closely: from far ones it may not be reached.
        """
        starts = [self.start(slope) for slope in _START_SLOPES]
        trial = _TRIAL_ITERATIONS
        if self.sizes:
            starts += [self.start(slope, DEVIATION / 2) for slope in _START_SLOPES]
            trial, iterations = 2 * trial, 2 * iterations
        states = [self.run(start, trial) for start in starts]
        return self.run(max(states, key=self.evidence), iterations)

    def run(self, state: State, iterations: int) -> State:
        """Improve so many times."""
        for _ in range(iterations):
            state = self.improve(state)
        return state

    def evidence(self, state: State) -> float:
        """Log probability of the data, up to a constant: what is fitted, integrated out by Laplace's approximation."""
        e = self.equations(state)
        z = np.clip((self.sweep.log_data - state.local[:, [0]] - e.excess) / np.sqrt(e.variance), -1e6, 1e6)
        exact = -(_TAIL + 1) / 2 * np.log1p(z**2 / _TAIL) - np.log(e.variance) / 2
        fit = np.where(self.sweep.present, np.where(self.sweep.censored, log_ndtr(-z), exact), 0.0).sum()
        prior = -0.5 * (((state.shared - self.prior_mean) / self.prior_spread) ** 2).sum() - np.log(self.prior_spread).sum()
        prior -= 0.5 * ((state.local[:, 1:] / state.deviation) ** 2).sum() + self.n_places * np.log(state.deviation).sum()
        prior -= DEVIATION_WEIGHT * (np.log(state.deviation) + 0.5 * (DEVIATION / state.deviation) ** 2).sum()
        volume = np.linalg.slogdet(e.local_inverse)[1].sum() + np.linalg.slogdet(e.shared_inverse)[1]
        return float(fit + prior + volume / 2)

    def best(self, shared: Floats, local: Floats) -> Floats:
        """log best value at each place, shape (..., n_quantities, n_places)."""
        law = shared[..., self.sweep.task] + self.law(shared)[0]
        if self.sizes:
            law = law + self.size_law(shared)[0]
        return np.asarray(law + np.swapaxes(local[..., 1:], -1, -2))

    def law(self, shared: Floats) -> tuple[Floats, Floats, Floats]:
        """The law's log best value over that at the mean log σ, and its slopes by the slope there and by the offset: (..., n_places) each.

        Without offsets it is the slope times x = log σ − mean; with them log((E + e^(s·x))/(1 + E)), E the offset over the rest at
        x = 0, whose log is the parameter, and s = slope·(1 + E), so that the slope at x = 0 is the same.
        """
        slope = shared[..., [self.slope]]
        if not self.offsets:
            return np.asarray(slope * self.x), np.broadcast_to(self.x, (*slope.shape[:-1], self.n_places)), np.zeros(0)
        return _bent(slope, shared[..., [self.offset]], self.x)

    def size_law(self, shared: Floats, log_size: Floats | None = None) -> tuple[Floats, Floats, Floats]:
        """The law's log best value over that at the mean log N, and its slopes by the slope there and by the level: (..., n_places) each.

        With n = log N − mean it is the slope s times n; where it levels off −log((E + e^(−β·n))/(1 + E)), E the level, whose log is the
        parameter, and β = s·(1 + E): −log(1 + b·N^(−β)) less its value at the mean, b·N^(−β) being 1/E there. A small E is the plain slope.

        Args:
            shared: shape (..., n_quantities, n_shared).
            log_size: log N of other places; None: those of the sweep.
        """
        sizes = self.sweep.log_size if log_size is None else log_size
        assert sizes is not None
        slope, n = shared[..., [self.size_slope]], sizes - self.size_centre
        value, by_slope, by_level = _bent(-slope, shared[..., [self.level]], n)
        return np.where(self.levels, -value, slope * n), np.where(self.levels, by_slope, n), np.where(self.levels, -by_level, 0.0)

    def size_parts(self, shared: Floats) -> tuple[Floats, Floats]:
        """β and E of each quantity, shapes (..., n_quantities): best values are ∝ 1/(E + (N/e^`size_centre`)^(−β)); E = 0: a power law."""
        level = np.where(self.levels[:, 0], np.exp(shared[..., self.level]), 0.0)
        return np.asarray(shared[..., self.size_slope] * (1 + level)), np.asarray(level)

    def power_law(self, shared: Floats) -> tuple[Floats, Floats, Floats]:
        """The laws as coefficient·(σ^exponent + offset): exponents and offsets (..., n_quantities), log coefficients (..., n_tasks)."""
        slope, level = shared[..., self.slope], shared[..., : self.n_tasks]
        if not self.offsets:
            return slope, np.zeros(slope.shape), np.asarray(level - slope[..., None] * self.centre)
        ratio = np.exp(shared[..., self.offset])
        exponent = slope * (1 + ratio)
        coefficients = level - (exponent * self.centre + np.log1p(ratio))[..., None]
        return np.asarray(exponent), np.asarray(ratio * np.exp(exponent * self.centre)), np.asarray(coefficients)

    def shape(self, shared: Floats) -> Floats:
        """What the bowls' ranges have over the log curvature, shape (..., n_quantities, N_RANGES)."""
        return np.asarray(shared[..., self.side : self.of_task.start] @ self.mixing.T)

    def widths(self, shared: Floats, height: float) -> Floats:
        """`bowl_width` of each task and, last, of the mean over tasks of log D, shape (..., n_quantities, n_tasks + 1, 2)."""
        of_task = shared[..., [self.curvature]] + shared[..., self.of_task]
        curvatures = self.curvatures(of_task[..., None] + self.shape(shared)[..., None, :])
        # the sum of bowls of one bottom is a bowl
        return bowl_width(np.concatenate([curvatures, curvatures.mean(axis=-2, keepdims=True)], axis=-2), height)

    def curvatures(self, logs: Floats) -> Floats:
        """Second derivatives from their logarithms, neither flat nor steep beyond reason."""
        return np.asarray(np.exp(np.clip(logs, -7.0, 5.0)))

    def bowls(self, shared: Floats, local: Floats) -> list[tuple[Floats, Floats, Floats]]:
        """Each quantity's bowl at every cell with its slopes, as `bowl` gives them; leading axes as the parameters'."""
        best = self.best(shared, local)
        of_place = shared[..., [self.curvature]] + shared[..., self.of_task.start + self.sweep.task]
        log_curvatures = of_place[..., None] + self.shape(shared)[..., None, :]
        curvatures = self.curvatures(log_curvatures)[..., None, :]
        return [bowl(self.sweep.values[..., q] - best[..., q, :, None], curvatures[..., q, :, :, :]) for q in range(self.n_quantities)]

    def equations(self, state: State, *, expected: bool = False) -> Equations:
        """The normal equations at a state. `expected`: with the information of Student-t noise, not the weights of a Newton step."""
        shape = (self.n_places, self.n_cells)
        bowls = self.bowls(state.shared, state.local)
        by_quantity = np.zeros((*shape, self.n_quantities, self.n_shared))
        by_local = np.ones((*shape, 1 + self.n_quantities))
        places = np.arange(self.n_places)
        _, by_slope, by_offset = self.law(state.shared)
        _, by_size, by_level = self.size_law(state.shared) if self.sizes else (by_slope, by_slope, by_slope)
        for q, (value, slope, by_range) in enumerate(bowls):
            by_local[..., 1 + q] = -slope
            by_quantity[places, :, q, self.sweep.task] = -slope
            by_quantity[..., q, self.slope] = -slope * by_slope[q, :, None]
            if self.offsets:
                by_quantity[..., q, self.offset] = -slope * by_offset[q, :, None]
            if self.sizes:
                by_quantity[..., q, self.size_slope] = -slope * by_size[q, :, None]
                by_quantity[..., q, self.level] = -slope * by_level[q, :, None]
            by_quantity[..., q, self.curvature] = value
            by_quantity[..., q, self.side : self.of_task.start] = by_range @ self.mixing
            by_quantity[places, :, q, self.of_task.start + self.sweep.task] = value
        by_shared = by_quantity.reshape(*shape, -1)
        excess = np.asarray(sum(value for value, _, _ in bowls))
        variance = self.variance(state, excess)
        _, weight = self.likelihood(self.sweep, state.local[:, [0]] + excess, variance)
        if expected:
            weight = np.where(self.sweep.censored, weight, TELLS * weight)
        local_spread = np.concatenate([[_LEVEL_SPREAD], state.deviation])
        weighted = by_local * weight[..., None]
        precision = np.swapaxes(weighted, 1, 2) @ by_local + np.diag(local_spread**-2)
        local_inverse: Floats = np.linalg.inv(precision).astype(np.float64, copy=False)
        cross = np.swapaxes(weighted, 1, 2) @ by_shared
        flat, flat_cross = (term.reshape(-1, term.shape[-1]) for term in (by_shared, local_inverse @ cross))
        shared_precision = (
            flat.T @ (flat * weight.reshape(-1, 1))
            - cross.reshape(flat_cross.shape).T @ flat_cross
            + np.diag(self.prior_spread.ravel() ** -2)
        )
        return Equations(
            by_shared=by_shared,
            by_local=by_local,
            weight=weight,
            cross=cross,
            local_inverse=local_inverse,
            shared_inverse=np.linalg.inv(shared_precision).astype(np.float64, copy=False),
            variance=variance,
            excess=excess,
        )

    def variance(self, state: State, excess: Floats) -> Floats:
        """Of each cell's log D about the surface, shape (n_places, n_cells): seeds' noise, and more with the height above the best."""
        return np.asarray(state.noise[self.sweep.task][:, None] * self.noise_share + state.misfit * excess**2)

    def likelihood(self, sweep: SweepCells, fitted: Floats, variance: Floats) -> tuple[Floats, Floats]:
        """Slope and curvature (its negative) of each cell's log likelihood by the surface's value there."""
        deviation = np.sqrt(variance)
        z = np.clip((sweep.log_data - fitted) / deviation, -1e6, 1e6)
        tail = (_TAIL + 1) / (_TAIL + z**2)
        hazard = np.exp(-(z**2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-z))
        score = np.where(sweep.censored, hazard, tail * z) / deviation
        information = np.where(sweep.censored, np.clip(hazard * (hazard - z), 1e-6, 1.0), tail) / variance
        return np.where(sweep.present, score, 0.0), np.where(sweep.present, information, 0.0)

    def step(
        self,
        equations: Equations,
        score: Floats,
        shared: Floats,
        local: Floats,
        prior_shared: Floats,
        prior_local: Floats,
        deviation: Floats,
    ) -> tuple[Floats, Floats]:
        """One Newton step from parameters with any leading axes."""
        e = equations
        lead = score.shape[:-2]
        local_precision = np.concatenate([[_LEVEL_SPREAD], deviation]) ** -2.0
        g_local = (score[..., None, :] @ e.by_local)[..., 0, :] - local_precision * (local - prior_local)
        g_shared = score.reshape(*lead, -1) @ e.by_shared.reshape(-1, e.by_shared.shape[-1])
        g_shared = g_shared - (self.prior_spread**-2.0 * (shared - prior_shared)).reshape(*lead, -1)
        eased = (e.local_inverse @ g_local[..., None])[..., 0]
        cross = e.cross.reshape(-1, e.cross.shape[-1])
        change = (g_shared - eased.reshape(*lead, -1) @ cross) @ e.shared_inverse
        local_change = eased - (e.local_inverse @ (change @ cross.T).reshape(*lead, self.n_places, -1)[..., None])[..., 0]
        # no step of more than a factor e: far from the bottom a bowl is no parabola
        size = np.maximum(np.abs(change).max(axis=-1), np.abs(local_change[..., 1:]).max(axis=(-2, -1)))
        scale = 1 / np.maximum(size, 1.0)
        return shared + (scale[..., None] * change).reshape(shared.shape), local + scale[..., None, None] * local_change

    def improve(self, state: State) -> State:
        """One Newton step, and the variances that follow."""
        e = self.equations(state)
        score, _ = self.likelihood(self.sweep, state.local[:, [0]] + e.excess, e.variance)
        level_alone = state.local * (np.arange(state.local.shape[1]) == 0)
        shared, local = self.step(e, score, state.shared, state.local, self.prior_mean, level_alone, state.deviation)
        # how uncertain the places' own parameters are, and the surface at each cell
        pull = e.local_inverse @ e.cross
        by_shared_alone = e.by_shared - e.by_local @ pull
        covariance = e.local_inverse + pull @ e.shared_inverse @ np.swapaxes(pull, 1, 2)
        uncertain = ((e.by_local @ e.local_inverse) * e.by_local).sum(axis=-1)
        uncertain += ((by_shared_alone @ e.shared_inverse) * by_shared_alone).sum(axis=-1)
        # variance = squares over degrees of freedom; the latter are what the data, not the prior, decided (MacKay)
        decided = np.maximum(1 - np.diagonal(covariance, axis1=1, axis2=2)[:, 1:] / state.deviation**2, 0.0).sum(axis=0)
        squares = (local[:, 1:] ** 2).sum(axis=0)
        deviation = np.sqrt((squares + DEVIATION_WEIGHT * DEVIATION**2) / (decided + DEVIATION_WEIGHT))
        noise, misfit = self._cell_variances(state, shared, local, uncertain)
        return State(shared=shared, local=local, noise=noise, misfit=misfit, deviation=deviation)

    def _cell_variances(self, state: State, shared: Floats, local: Floats, uncertain: Floats) -> tuple[Floats, float]:
        """Each task's noise, drawn towards the tasks' mean, and the misfit: multiplied until squares are as expected."""
        excess = np.asarray(sum(value for value, _, _ in self.bowls(shared, local)))
        used = self.sweep.present & ~self.sweep.censored
        residual = np.where(used, self.sweep.log_data - local[:, [0]] - excess, 0.0)
        variance = self.variance(state, excess)
        tail = (_TAIL + 1) / (_TAIL + residual**2 / variance)
        squares = np.where(used, tail * residual**2, 0.0) / variance**2
        expected = np.where(used, np.maximum(1 - uncertain * tail / variance, 0.05), 0.0) / variance
        factor = float((squares * excess**2).sum() / max((expected * excess**2).sum(), 1e-12))
        misfit = float(np.clip(state.misfit * np.clip(factor, 0.5, 2.0) ** 3, *_MISFIT_RANGE))
        terms = (squares * self.noise_share, expected * self.noise_share, used)
        seen, due, count = (np.bincount(self.sweep.task, term.sum(axis=1), self.n_tasks) for term in terms)
        pooled = (state.noise * count).sum() / count.sum() * seen.sum() / max(due.sum(), 1e-12)
        own = state.noise * seen / np.maximum(due, 1e-12)
        noise = (own * count + pooled * TASK_NOISE_WEIGHT) / (count + TASK_NOISE_WEIGHT)
        return np.maximum(noise, _LEAST_NOISE), misfit


def _bent(slope: Floats, log_ratio: Floats, x: Floats) -> tuple[Floats, Floats, Floats]:
    """log((E + e^(s·x))/(1 + E)) with s = slope·(1 + E), E = e^log_ratio: its slope at 0 is `slope`. And its slopes by both."""
    ratio = np.exp(log_ratio)
    power = np.exp(np.clip(slope * (1 + ratio) * x, -50.0, 50.0))
    share = power / (ratio + power)
    by_ratio = (1 - share) + share * x * slope * ratio - ratio / (1 + ratio)
    return np.log((ratio + power) / (1 + ratio)), share * x * (1 + ratio), by_ratio
