"""How far log D lies from the data law, and why: seeds, tasks of other shape, a law that is not quite right.

A bootstrap over seeds knows only the first. The other two are measured on the points' residuals, with prior guesses that hold where
there are few of them.
"""

from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.form_fit import Prior, fit_form, task_curves
from tdscale.analysis.forms import Form

# Prior guesses, in log D or log α, and how many degrees of freedom each is worth
_MISFIT_GUESS = 0.05
_SPREAD_GUESS = 0.2
_WORTH = 3.0
_SEED_WORTH = 4.0
# Deviation of the mean over tasks from the law's form, which no number of tasks or seeds averages out
SHARED = 0.03
DRIFT_BELOW = 0.05
HURT_ABOVE = 0.4


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Standard deviations.

    Attributes:
        seeds: of log D from the choice of seeds, shape (n_tasks, n_utds, n_thresholds); pooled over cells, since a variance from
            3 to 10 seeds is itself uncertain.
        points: of log D of one (task, σ) from the task's own law, seeds apart.
        tasks: of the logarithm of the parameter that each task has of its own (α), over tasks.
        scatter: of log D about the shared law, all causes together, shape (n_thresholds,).
    """

    seeds: Floats
    points: float
    tasks: float
    scatter: Floats


def measure_misfit(form: Form, utd: Floats, data: Floats, bound: Floats, n_seeds: Floats) -> Misfit:
    """Measure the parts on all thresholds together.

    Args:
        form: the law that log D lies about, one that tasks may have a parameter of their own in.
        utd: shape (n_utds,).
        data: D, shape (1 + n_draws, n_tasks, n_utds, n_thresholds), the point estimate first; infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        n_seeds: shape (n_tasks, n_utds).
    """
    seeds = _seed_deviation(data, n_seeds)
    points, tasks, scatter = [], [], np.full(data.shape[-1], np.nan)
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
        own = task_curves(utd, fit, fit.filled, guess, np.inf, np.zeros(at.shape[:2]))
        squares = float((np.where(np.isfinite(at), own.residual, 0.0) ** 2).sum())
        freedom = max(n_points - 2 * n_tasks - (n_parameters - 1), 0)
        points.append((squares - freedom * seed_variance + _WORTH * _MISFIT_GUESS**2) / (freedom + _WORTH))
        # a task whose runs say little of α counts for little
        trust = 1 / (1 + own.variance / _SPREAD_GUESS**2) ** 2
        alive = np.isfinite(own.log_scale)
        excess = float((trust * (own.change**2 - own.variance))[alive].sum())
        tasks.append((excess + _WORTH * _SPREAD_GUESS**2) / (float(trust[alive].sum()) + _WORTH))
    return Misfit(
        seeds=seeds,
        points=_root(points, 0.0, _MISFIT_GUESS),
        tasks=_root(tasks, 0.05, _SPREAD_GUESS),
        scatter=scatter,
    )


def _root(variances: list[float], least: float, guess: float) -> float:
    return float(np.sqrt(max(float(np.mean(variances)), least**2))) if variances else guess


def _seed_deviation(data: Floats, n_seeds: Floats) -> Floats:
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


def noisy_draws(draws: Floats, misfit: Misfit, index: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draws of log D whose spread holds all that keeps the points from the law.

    Args:
        draws: D, shape (n_draws, n_tasks, n_utds), at one threshold; infinity where censored, NaN where missing.
        misfit: as measured; index: of the threshold.
        rng: the same state for every threshold, so that a draw's laws fit together.

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

    Above, more updates on the same data may begin to hurt (overfitting, lost plasticity), which no law that only falls can say: in half
    of the draws they do.
    """
    below, above = rng.standard_normal((2, n_draws))
    hurts = rng.random(n_draws) < 0.5
    return np.stack([DRIFT_BELOW * below, np.where(hurts, HURT_ABOVE * np.abs(above), DRIFT_BELOW * above)], axis=1)
