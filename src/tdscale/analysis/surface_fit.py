"""A response surface fitted to a sweep, with draws of it: best B and η at each place, their laws, how exact they must be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.fitted_laws import MORE_DATA
from tdscale.analysis.response_surface import DEVIATION_WEIGHT, State, SurfaceModel, SweepCells

# How exact must B and η be? Within this rise of log D: at most 5 % more data
LEEWAY = np.log1p(MORE_DATA)
_DRAW_ITERATIONS = 6


@dataclass(frozen=True, kw_only=True)
class SizeLaws:
    """How the best values change with N: ∝ (1 + level)/(level + (N/e^centre)^(−exponent)). Draws have an axis of draws in front.

    Attributes:
        centre: log N at which that is 1.
        exponents, levels: shape (n_quantities,); a level of 0 is the power law (N/e^centre)^exponent.
    """

    centre: float
    exponents: Floats
    levels: Floats
    exponent_draws: Floats
    level_draws: Floats


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A fitted surface; `draws` are arrays of the same names with an axis of draws in front.

    Attributes:
        slopes: of log best value over log σ, shape (n_quantities,); slope_draws (n_draws, n_quantities).
        intercepts: log best value at σ = 1, shape (n_quantities, n_tasks); intercept_draws (n_draws, …).
        offsets: over the rest at σ = 1, so that best value = e^intercept·(σ^slope + offset); 0 without offsets, where slopes and
            intercepts are what is said above. Shape (n_quantities,); offset_draws (n_draws, n_quantities).
        evidence: log probability of the data, up to a constant that is the same with and without offsets, levels and sizes.
        best: log best value at each place, deviation included, shape (n_quantities, n_places); best_draws (n_draws, …).
        curvatures: of the bowls, shape (n_quantities, n_tasks).
        shape: the bowls' curvature from range to range, over that, shape (n_quantities, N_RANGES).
        widths: how far below and above the best value log D has risen by `LEEWAY`, logs of a factor, for each task and, last, for the
            mean over tasks, shape (n_quantities, n_tasks + 1, 2); width_draws (n_draws, …).
        sizes: the laws' part for N; None without sizes. Intercepts are then those at its `centre`.
    """

    slopes: Floats
    intercepts: Floats
    best: Floats
    slope_draws: Floats
    intercept_draws: Floats
    best_draws: Floats
    curvatures: Floats
    shape: Floats
    widths: Floats
    width_draws: Floats
    offsets: Floats
    offset_draws: Floats
    evidence: float
    sizes: SizeLaws | None = None


def fit_surface(
    sweep: SweepCells, draws: SweepCells, rng: np.random.Generator, *, offsets: bool = False, levels: Sequence[bool] = ()
) -> Surface:
    """Fit the surface, and once more for every draw.

    A draw starts from the data of one bootstrap draw and adds what these don't hold: the cells' misfit, the deviations
    from the law, and what is uncertain before any data. Linearised, draws are those of the parameters given the data.

    Args:
        sweep: the point estimate, `log_data` of shape (n_places, n_cells); each place has a cell that is not censored.
        draws: the same places with `log_data` of shape (n_draws, n_places, n_cells).
        rng: of the noise that is added.
        offsets: whether the best values follow B_min + β·σ^(−α) (equations D.2, D.3) in place of β·σ^(−α).
        levels: with sizes, for each hyperparameter whether its best value levels off with N; empty: none does.
    """
    model = SurfaceModel(sweep, offsets=offsets, levels=levels)
    state = model.solve()
    shared, local = _draws(model, state, draws, rng)
    slopes, ratios, intercepts = model.power_law(state.shared)
    slope_draws, offset_draws, intercept_draws = model.power_law(shared)
    return Surface(
        slopes=slopes,
        intercepts=intercepts,
        best=model.best(state.shared, state.local),
        slope_draws=slope_draws,
        intercept_draws=intercept_draws,
        offsets=ratios,
        offset_draws=offset_draws,
        evidence=model.evidence(state),
        best_draws=model.best(shared, local),
        curvatures=np.exp(state.shared[:, [model.curvature]] + state.shared[:, model.of_task]),
        shape=np.exp(model.shape(state.shared)),
        widths=model.widths(state.shared, LEEWAY),
        width_draws=model.widths(shared, LEEWAY),
        sizes=_size_laws(model, state.shared, shared) if model.sizes else None,
    )


def _size_laws(model: SurfaceModel, shared: Floats, draws: Floats) -> SizeLaws:
    (exponents, levels), (exponent_draws, level_draws) = model.size_parts(shared), model.size_parts(draws)
    return SizeLaws(centre=model.size_centre, exponents=exponents, levels=levels, exponent_draws=exponent_draws, level_draws=level_draws)


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
