"""The best batch size and learning rate from a smooth surface through all cells of a sweep, with bootstrap draws of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.surface_model import DEVIATION_WEIGHT, State, SurfaceModel, SweepCells

Floats = NDArray[np.float64]

_START_SLOPES = (0.0, -0.8, 0.8)
_TRIAL_ITERATIONS, _ITERATIONS, _DRAW_ITERATIONS = 12, 25, 6


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A fitted surface; `draws` are arrays of the same names with an axis of draws in front.

    Attributes:
        slopes: of log best value over log σ, shape (n_quantities,); slope_draws (n_draws, n_quantities).
        intercepts: log best value at σ = 1, shape (n_quantities, n_tasks); intercept_draws (n_draws, …).
        best: log best value at each place, deviation included, shape (n_quantities, n_places); best_draws (n_draws, …).
        curvatures: of the bowls, shape (n_quantities, n_tasks).
        shape: the bowls' curvature from range to range, over that, shape (n_quantities, N_RANGES).
        deviation: standard deviation of the best values from their law, shape (n_quantities,).
        noise: standard deviation of log D of a cell near the best, shape (n_tasks,).
        misfit: what the noise grows by per unit of log D above the best.
        residuals: log D less the surface, shape (n_places, n_cells), 0 where padded.
        excess: the bowls' sum, same shape.
    """

    slopes: Floats
    intercepts: Floats
    best: Floats
    slope_draws: Floats
    intercept_draws: Floats
    best_draws: Floats
    curvatures: Floats
    shape: Floats
    deviation: Floats
    noise: Floats
    misfit: float
    residuals: Floats
    excess: Floats


def fit_surface(sweep: SweepCells, draws: SweepCells, rng: np.random.Generator) -> Surface:
    """Fit the surface, and once more for every draw.

    A draw starts from the data of one bootstrap draw and adds what these don't hold: the cells' misfit, the deviations
    from the law, and what is uncertain before any data. Linearised, draws are those of the parameters given the data.

    Args:
        sweep: the point estimate, `log_data` of shape (n_places, n_cells); each place has a cell that is not censored.
        draws: the same places with `log_data` of shape (n_draws, n_places, n_cells).
        rng: of the noise that is added.
    """
    model = SurfaceModel(sweep)
    # the likelihood may have several peaks: the highest of those reached from falling, constant and rising best values
    states = [model.run(model.start(slope), _TRIAL_ITERATIONS) for slope in _START_SLOPES]
    state = max(states, key=model.evidence)
    state = model.run(state, _ITERATIONS)
    shared, local = _draws(model, state, draws, rng)
    excess = np.asarray(sum(value for value, _, _ in model.bowls(state.shared, state.local)))
    used = sweep.present & ~sweep.censored
    return Surface(
        slopes=state.shared[:, model.slope],
        intercepts=_intercepts(model, state.shared),
        best=model.best(state.shared, state.local),
        slope_draws=shared[..., model.slope],
        intercept_draws=_intercepts(model, shared),
        best_draws=model.best(shared, local),
        curvatures=np.exp(state.shared[:, [model.curvature]] + state.shared[:, model.of_task :]),
        shape=np.exp(model.shape(state.shared)),
        deviation=state.deviation,
        noise=np.sqrt(state.noise),
        misfit=float(np.sqrt(state.misfit)),
        residuals=np.where(used, sweep.log_data - state.local[:, [0]] - excess, 0.0),
        excess=np.where(sweep.present, excess, 0.0),
    )


def _intercepts(model: SurfaceModel, shared: Floats) -> Floats:
    """log best value at σ = 1, shape (..., n_quantities, n_tasks)."""
    return np.asarray(shared[..., : model.n_tasks] - shared[..., [model.slope]] * model.centre)


def _draws(model: SurfaceModel, state: State, draws: SweepCells, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The parameters of every draw: shared (n_draws, ...) and local (n_draws, ...), by steps with the point estimate's equations."""
    equations = model.equations(state)
    n_draws = len(draws.log_data)
    shape = (n_draws, *state.shared.shape)
    noisy = replace(draws, log_data=draws.log_data + _unexplained(model, equations.variance, draws, rng))
    # few places tell the deviation badly: Student-t
    degrees = max(model.n_places - model.n_tasks - 1, 0) + DEVIATION_WEIGHT
    deviation = state.deviation * np.sqrt(degrees / rng.chisquare(degrees, (n_draws, 1, model.n_quantities)))
    prior_local = np.zeros((n_draws, *state.local.shape))
    prior_local[..., 0] = state.local[:, 0]
    prior_local[..., 1:] = deviation * rng.standard_normal(prior_local[..., 1:].shape)
    prior_shared = model.prior_mean + model.prior_spread * rng.standard_normal(shape)
    shared, local = np.broadcast_to(state.shared, shape), np.broadcast_to(state.local, prior_local.shape)
    for _ in range(_DRAW_ITERATIONS):
        excess = np.asarray(sum(value for value, _, _ in model.bowls(shared, local)))
        score, _ = model.likelihood(noisy, local[..., [0]] + excess, equations.variance)
        shared, local = model.step(equations, score, shared, local, prior_shared, prior_local, state.deviation)
    return shared, local


def _unexplained(model: SurfaceModel, variance: Floats, draws: SweepCells, rng: np.random.Generator) -> Floats:
    """Noise for what the cells scatter about the surface beyond the seeds' noise, which the bootstrap draws hold already."""
    data = np.where(draws.censored | ~draws.present, np.nan, draws.log_data)
    known = np.isfinite(data).sum(axis=0) > 1
    of_cell = np.nanvar(np.where(known, data, 0.0), axis=0)
    total = np.bincount(model.sweep.task, of_cell.sum(axis=1), model.n_tasks)
    seeds = total / np.maximum(np.bincount(model.sweep.task, known.sum(axis=1), model.n_tasks), 1)
    beyond = np.sqrt(np.maximum(variance - seeds[model.sweep.task][:, None], 0.0))
    return np.where(draws.censored, 0.0, beyond * rng.standard_normal(draws.log_data.shape))
