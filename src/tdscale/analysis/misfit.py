"""How far log D lies from the data law, and why: seeds, tasks of other shape, a law that is not quite right.

A bootstrap over seeds knows only the first. The other two are measured on the points' residuals, with prior guesses that hold where
there are few of them.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.form_fit import FormFit, Prior, fit_form, task_curves
from tdscale.analysis.forms import Form

# Prior guesses, in log D or log α, and how many degrees of freedom each is worth
_MISFIT_GUESS = 0.03
_SPREAD_GUESS = 0.2
_WORTH = 3.0
_SEED_WORTH = 4.0
# Deviation of the mean over tasks from the law's form, which no number of tasks or seeds averages out
SHARED = 0.02
# Beyond an α of their own, tasks differ from their domain's law by a tilt of log D, so much for each e-fold of σ. Its spread over the
# tasks of a domain is scaled-inverse-χ² about this scale, with so many degrees of freedom: benchmarks/new_task.py fits both
TILT = 0.11
TILT_WORTH = 4.0
# spreads that a domain may have
SPREADS = np.geomspace(0.005, 1.0, 60)
DRIFT_BELOW = 0.03
HURT_ABOVE = 0.4
# share of the draws in which it does: that σ hurts is what the form that rises says, as far as it is weighed
HURTS = 0.15


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Standard deviations.

    Attributes:
        seeds: of log D from the choice of seeds, shape (n_tasks, n_utds, n_thresholds); pooled over cells, since a variance from
            3 to 10 seeds is itself uncertain.
        points: of log D of one (task, σ) from the task's own law, seeds apart.
        tasks: of the logarithm of the parameter that each task has of its own (α), over tasks.
        scatter: of log D about the shared law, all causes together, shape (n_thresholds,).
        tilts: how likely each of `SPREADS` is, of the tasks' tilts, shape (n_spreads,); they sum to 1.
    """

    seeds: Floats
    points: float
    tasks: float
    scatter: Floats
    tilts: Floats


def measure_misfit(form: Form, utd: Floats, data: Floats, bound: Floats, n_seeds: Floats) -> Misfit:
    """Measure the parts on all thresholds together.

    Args:
        form: the law that log D lies about, one that tasks may have a parameter of their own in.
        utd: shape (n_utds,).
        data: D, shape (1 + n_draws, n_tasks, n_utds, n_thresholds), the point estimate first; infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        n_seeds: shape (n_tasks, n_utds).
    """
    seeds = seed_deviation(data, n_seeds)
    points, tasks, tilts, scatter = [], [], [], np.full(data.shape[-1], np.nan)
    for index in range(data.shape[-1]):
        at = data[:1, ..., index]
        seed_variance = float(np.mean(seeds[..., index][np.isfinite(at[0])] ** 2)) if np.isfinite(at).any() else 0.0
        guess = float(np.sqrt(seed_variance + _MISFIT_GUESS**2))
        scatter[index] = guess
        try:
            fit = fit_form(form, utd, at, bound, Prior(noise=guess))
        except ValueError:
            continue
        n_points, n_tasks = int(np.isfinite(at).sum()), int(np.isfinite(at).any(axis=-1).sum())
        squares = float((np.where(np.isfinite(at), fit.residual, 0.0) ** 2).sum())
        n_parameters = len(form.parameters)
        scatter[index] = np.sqrt((squares + _WORTH * guess**2) / (max(n_points - n_tasks - n_parameters, 0) + _WORTH))
        if form.of_task is None:
            points.append(scatter[index] ** 2 - seed_variance)
            continue
        tilts.append(tilts_about(utd, fit, data[..., index]))
        own = task_curves(utd, fit, fit.filled, guess, np.inf, np.zeros(at.shape[:2]))
        squares = float((np.where(np.isfinite(at), own.residual, 0.0) ** 2).sum())
        freedom = max(n_points - 2 * n_tasks - (n_parameters - 1), 0)
        points.append((squares - freedom * seed_variance + _WORTH * _MISFIT_GUESS**2) / (freedom + _WORTH))
        # a task whose runs say little of α counts for little
        trust = 1 / (1 + own.variance / _SPREAD_GUESS**2) ** 2
        alive = np.isfinite(own.log_scale)
        excess = float((trust * (own.change**2 - own.variance))[alive].sum())
        tasks.append((excess + _WORTH * _SPREAD_GUESS**2) / (float(trust[alive].sum()) + _WORTH))
    of_alpha = _root(tasks, 0.05, _SPREAD_GUESS)
    return Misfit(
        seeds=seeds,
        points=_root(points, 0.0, _MISFIT_GUESS),
        tasks=of_alpha,
        scatter=scatter,
        tilts=_likely_spreads(tilts, of_alpha),
    )


@dataclass(frozen=True, kw_only=True)
class Tilts:
    """Tilts of tasks against their domain's law, log D per e-fold of σ; NaN for a task with fewer than three points.

    Attributes:
        slope: shape (n_tasks,); draws: of it, by the seeds, about any centre, shape (n_draws, n_tasks).
        unexplained: its standard deviation where each point lies off the law by 1, turn: how far a change of log α by 1 tilts each;
            both of shape (n_tasks,).
    """

    slope: Floats
    draws: Floats
    unexplained: Floats
    turn: Floats


def tilts_about(utd: Floats, fit: FormFit, data: Floats) -> Tilts:
    """Measured on the residuals about a shared law.

    Args:
        utd: shape (n_utds,).
        fit: the law, of one draw, of a form that tasks have a parameter of their own in.
        data: D, shape (1 + n_draws, n_tasks, n_utds), the point estimate first; infinity where censored, NaN where missing.
    """
    seen = np.isfinite(data[0])
    several = seen.sum(axis=-1) > 2
    x = np.where(seen, np.log(utd) - middle_of(utd, seen)[:, None], 0.0)
    length = np.where(several, (x**2).sum(axis=-1), np.nan)
    turn = fit.form.task_gradient(np.log(utd) - fit.centre, fit.form.moved(fit.parameters, -fit.centre)[0])[0]
    # a draw in which a point is censored leaves it where it was
    finite = np.isfinite(data) & seen
    log_data = np.log(np.where(finite, data, np.where(seen, data[0], 1.0)))
    # the law that they are measured against was fitted to them
    n = max(int(several.sum()), 2)
    return Tilts(
        slope=np.sqrt(n / (n - 1)) * (x * fit.residual[0]).sum(axis=-1) / length,
        draws=(x * log_data[1:]).sum(axis=-1) / length,
        unexplained=1 / np.sqrt(length),
        turn=(x * turn).sum(axis=-1) / length,
    )


def likelihood_of_spreads(tilts: Sequence[Tilts], of_alpha: float) -> Floats:
    """log likelihood of each of `SPREADS` of a domain's tilts, shape (n_spreads,).

    Args:
        tilts: at every threshold. A task's tilt is their mean: they are much the same one.
        of_alpha: standard deviation of log α over tasks.
    """
    known = np.any([np.isfinite(at.slope) for at in tilts], axis=0) if tilts else np.zeros(0, dtype=bool)
    if not known.any():
        return np.zeros(len(SPREADS))
    slope, draws, unexplained, turn = (
        np.nanmean([getattr(at, name)[..., known] for at in tilts], axis=0) for name in ("slope", "draws", "unexplained", "turn")
    )
    noise = draws.var(axis=0) + (_MISFIT_GUESS * unexplained) ** 2 + (of_alpha * turn) ** 2
    variance = SPREADS[:, None] ** 2 + noise
    return np.asarray(-0.5 * (np.log(variance) + slope**2 / variance).sum(axis=1))


def log_tilt_prior(scale: float, worth: float) -> Floats:
    """log of how likely each of `SPREADS` is for a domain of which nothing is known, shape (n_spreads,): scaled-inverse-χ²."""
    log_prior = -worth * np.log(SPREADS) - worth * scale**2 / (2 * SPREADS**2)  # for equal steps of the logarithm
    return np.asarray(log_prior - np.logaddexp.reduce(log_prior))


def _likely_spreads(tilts: Sequence[Tilts], of_alpha: float) -> Floats:
    """`Misfit.tilts` from the tilts at every threshold."""
    told = log_tilt_prior(TILT, TILT_WORTH) + likelihood_of_spreads(tilts, of_alpha)
    return np.asarray(np.exp(told - np.logaddexp.reduce(told)))


def middle_of(utd: Floats, seen: Bools) -> Floats:
    """Mean log σ of each task's points, shape (n_tasks,); 0 where it has none. `seen`: shape (n_tasks, n_utds)."""
    return np.asarray((seen * np.log(utd)).sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1))


def tilts_of_tasks(utd: Floats, seen: Bools, misfit: Misfit, noise: float, n_draws: int, rng: np.random.Generator) -> Floats:
    """Draws of each task's tilt against its law, shape (n_draws, n_tasks): the less the more its own runs say of it.

    Args:
        utd: shape (n_utds,).
        seen: the points of each task, shape (n_tasks, n_utds).
        misfit: as measured.
        noise: of a point.
        n_draws: how many.
        rng: of the draws.
    """
    x = np.log(utd) - middle_of(utd, seen)[:, None]
    spread = rng.choice(SPREADS, n_draws, p=misfit.tilts)[:, None]
    told = spread**2 * np.where(seen, x**2, 0.0).sum(axis=-1) / noise**2
    # an α of its own has taken up the rest
    return np.asarray(spread * rng.standard_normal((n_draws, len(seen))) / (1 + told))


def _root(variances: list[float], least: float, guess: float) -> float:
    return float(np.sqrt(max(float(np.mean(variances)), least**2))) if variances else guess


def seed_deviation(data: Floats, n_seeds: Floats) -> Floats:
    """Standard deviation of log D from the choice of seeds, `Misfit.seeds`; arguments as for `measure_misfit`."""
    finite = np.isfinite(data[1:])
    count = np.maximum(finite.sum(axis=0), 1)
    log_data = np.log(np.where(finite, data[1:], 1.0))
    mean = log_data.sum(axis=0) / count
    variance = (np.where(finite, log_data - mean, 0.0) ** 2).sum(axis=0) / count
    # of half the draws censored, the rest tell too little
    known = (finite.mean(axis=0) > 0.5) & np.isfinite(data[0]) & (n_seeds[..., None] > 1)
    pooled = np.where(known, variance, 0.0).sum(axis=(0, 1)) / np.maximum(known.sum(axis=(0, 1)), 1)
    worth = np.where(known, np.maximum(n_seeds - 1, 0)[..., None], 0.0)
    return np.asarray(np.sqrt((worth * variance + _SEED_WORTH * pooled) / (worth + _SEED_WORTH)))


def generator_of_runs(seed: int, data: Floats) -> np.random.Generator:
    """For what belongs to these runs alone: other D have other random numbers, whatever the seed.

    What belongs to the law and to the tasks comes from the seed alone instead. So draws of one number, of two studies of the same tasks,
    have the law's and the tasks' part in common, and their noise apart: that is what a comparison of studies needs.

    Args:
        seed: of the fit.
        data: D of the point estimate.
    """
    return np.random.default_rng([seed, 205, zlib.crc32(np.ascontiguousarray(data).tobytes())])


def noisy_draws(draws: Floats, misfit: Misfit, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of log D whose spread holds all that keeps the points from the law.

    Args:
        draws: D, shape (n_draws, n_tasks, n_utds), at one threshold; infinity where censored, NaN where missing.
        misfit: as measured; index: of the threshold.
        rng: of these runs (`generator_of_runs`); the same state for every threshold, so that a draw's laws fit together.

    Returns:
        D of each task's own law, and D as the shared law sees it (tasks' other shapes not included); both of the shape of `draws`.
    """
    finite = np.isfinite(draws)
    count = np.maximum(finite.sum(axis=0), 1)
    log_draws = np.log(np.where(finite, draws, 1.0))
    mean = log_draws.sum(axis=0) / count
    deviation = np.sqrt((np.where(finite, log_draws - mean, 0.0) ** 2).sum(axis=0) / count)
    wanted = misfit.seeds[..., index]
    # the variance of a cell's own few seeds is stretched or shrunk towards the pooled one
    needed = wanted / np.maximum(deviation, 1e-3)
    stretch = np.clip(needed, 0.25, 4.0)
    # a cell of one seed has next to nothing to stretch
    missing = np.where(needed > stretch, wanted**2 - (stretch * deviation) ** 2, 0.0)
    stretched = mean + (log_draws - mean) * stretch + np.sqrt(misfit.points**2 + missing) * rng.standard_normal(draws.shape)
    own = np.where(finite, np.exp(stretched), draws)
    shared = np.exp(SHARED * rng.standard_normal((len(draws), 1, draws.shape[-1])))
    return own, own * shared


def shift_of_tasks(utd: Floats, rng: np.random.Generator, deviation: float, n_draws: int) -> Floats:
    """Factors of D that stand for other tasks having been chosen: a turn of log D about the middle σ, shape (n_draws, n_utds).

    A change u of log α turns log D by about half of u in the middle of the knee.
    """
    x = np.log(utd) - np.log(utd).mean()
    return np.asarray(np.exp(-0.5 * deviation * rng.standard_normal((n_draws, 1)) * x))


def beyond(rng: np.random.Generator, n_draws: int) -> Floats:
    """By how much log D may rise above the law for each e-fold of σ below and above those that were run, shape (n_draws, 2).

    Above, more updates on the same data may begin to hurt (overfitting, lost plasticity), more than any of the forms says: in a share
    `HURTS` of the draws they do.
    """
    below, above = rng.standard_normal((2, n_draws))
    hurts = rng.random(n_draws) < HURTS
    return np.stack([DRIFT_BELOW * below, np.where(hurts, HURT_ABOVE * np.abs(above), DRIFT_BELOW * above)], axis=1)
