"""How much each form of the data law counts in a prediction: by how it predicts σ that were left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tdscale.analysis.censoring import expected_above
from tdscale.analysis.data_law import Prior, fit_offset_law, fit_power_law
from tdscale.analysis.forms import held_range

Floats = NDArray[np.float64]

# Belief before any error is seen: the offset law, the pure power law, the offset law held constant beyond what was run
_BELIEF = np.array([4.0, 1.0, 1.0])
# An error of log D below this is luck
_LUCK = 0.05


@dataclass(frozen=True)
class FormWeights:
    """Shares of the offset law, the power law and the held offset law, and the root mean squared errors of log D they come from.

    The shares, shape (3,), sum to 1; `errors`, same shape, are NaN where nothing was left out.
    """

    shares: Floats
    errors: Floats


def weigh_forms(utd: Floats, data: Floats, bound: Floats, noise: Floats) -> FormWeights:
    """Weights by belief over mean squared error at the smallest and the largest σ, each left out in turn, all thresholds together.

    Errors are those of the mean over tasks of log D. A censored cell that was left out stands for the expectation of log D under the form,
    given that it is above the bound: a form that predicts less than the bound errs, one that predicts far more does not. With fewer than
    four σ nothing is left out, and belief decides.

    Args:
        utd: shape (n_utds,).
        data: D, shape (n_tasks, n_utds, n_thresholds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        noise: of log D about the law, shape (n_thresholds,).
    """
    n = len(utd)
    errors: list[Floats] = []
    if n >= 4:
        for out in (0, n - 1):
            keep = np.arange(n) != out
            for index in range(data.shape[-1]):
                rest, left_out = (data[:, keep, index], bound[:, keep]), (data[:, out, index], bound[:, out])
                found = _errors(utd[keep], *rest, utd[out], *left_out, float(noise[index]))
                if found is not None:
                    errors.append(found)
    if not errors:
        return FormWeights(_BELIEF / _BELIEF.sum(), np.full(3, np.nan))
    squared = np.mean(np.square(errors), axis=0)
    shares = _BELIEF / (squared + _LUCK**2)
    return FormWeights(shares / shares.sum(), np.sqrt(squared))


def _errors(utd: Floats, data: Floats, bound: Floats, at: float, truth: Floats, truth_bound: Floats, noise: float) -> Floats | None:
    """Error of the mean log D of each form at a σ that was left out; None where it can't be told."""
    try:
        fit = fit_offset_law(utd, data[None], bound, Prior(noise=noise))
    except ValueError:
        return None
    log_c, gamma = fit_power_law(utd, data[None], bound)
    known = ~np.isnan(truth) & np.isfinite(log_c[0]) & np.isfinite(fit.log_d_min[0])
    if not known.any():
        return None

    def offset(log_utd: float) -> Floats:
        return np.asarray(fit.log_d_min[0] + np.logaddexp(0.0, fit.log_ratio[0] - fit.alpha[0] * log_utd))

    within = np.clip(at, *held_range(utd, data, bound, offset))
    predicted = np.array([offset(np.log(at)), log_c[0] - gamma[0] * np.log(at), offset(np.log(within))])[:, known]
    censored, log_bound = np.isposinf(truth[known]), np.log(truth_bound[known])
    if censored.all() and (predicted > log_bound).all():
        return None  # bounds that every form keeps don't tell one from another
    measured = np.log(np.where(censored, 1.0, truth[known]))
    return np.asarray((predicted - np.where(censored, expected_above(predicted, log_bound, noise), measured)).mean(axis=1))
