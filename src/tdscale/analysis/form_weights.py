"""How much each form of the data law counts in a prediction: by how it predicts σ that were left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdscale.analysis.arrays import Bools, Floats
from tdscale.analysis.form_fit import FormFit, Prior, expected_above, fit_form
from tdscale.analysis.forms import Form

# An error of log D below this is luck
_LUCK = 0.05


@dataclass(frozen=True)
class FormWeights:
    """Shares of the forms and the root mean squared errors of log D they come from.

    The shares, shape (n_forms,), sum to 1; `errors`, same shape, are NaN where nothing was left out.
    """

    shares: Floats
    errors: Floats


def weigh_forms(
    forms: Sequence[Form],
    utd: Floats,
    data: Floats,
    bound: Floats,
    noise: Floats,
    *,
    outs: Sequence[Bools] | None = None,
    luck: float = _LUCK,
) -> FormWeights:
    """Weights by belief over mean squared error at the smallest and the largest σ, each left out in turn, all thresholds together.

    Errors are those of the mean over tasks of log D. A censored cell that was left out stands for the expectation of log D under the form,
    given that it is above the bound: a form that predicts less than the bound errs, one that predicts far more does not. With fewer than
    four σ nothing is left out, and belief decides.

    Args:
        forms: the first one is the one whose residuals `noise` describes.
        utd: shape (n_utds,).
        data: D, shape (n_tasks, n_utds, n_thresholds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds).
        noise: of log D about the law, shape (n_thresholds,).
        outs: which points are left out in turn, each of shape (n_utds,); None: the smallest σ, the largest σ.
        luck: an error of log D that tells nothing.
    """
    n, belief = utd.shape[-1], np.array([form.belief for form in forms])
    errors: list[Floats] = []
    if outs is None:
        outs = [np.arange(n) == out for out in (0, n - 1)] if n >= 4 else []
    for out in outs:
        for index in range(data.shape[-1]):
            rest, left_out = (data[:, ~out, index], bound[:, ~out]), (data[:, out, index], bound[:, out])
            found = _errors(forms, utd[..., ~out], *rest, utd[..., out], *left_out, float(noise[index]))
            if found is not None:
                errors.append(found)
    if not errors:
        return FormWeights(belief / belief.sum(), np.full(len(forms), np.nan))
    squared = np.mean(np.square(errors), axis=0)
    shares = belief / (squared + luck**2)
    return FormWeights(shares / shares.sum(), np.sqrt(squared))


def _errors(
    forms: Sequence[Form], utd: Floats, data: Floats, bound: Floats, at: Floats, truth: Floats, truth_bound: Floats, noise: float
) -> Floats | None:
    """Error of the mean log D of each form at points that were left out, root mean square over them; None where it is not known.

    Args:
        forms: which.
        utd, data, bound: what is left, as `fit_form` takes them.
        at: the points left out, shape (..., n_out); truth, truth_bound: D and last env step there, shape (n_tasks, n_out).
        noise: of log D about the law.
    """
    prior = Prior(noise=noise)
    try:
        fits = {form: fit_form(form, utd, data[None], bound, prior) for form in dict.fromkeys(form.base for form in forms)}
    except ValueError:
        return None
    alive = np.all([np.isfinite(fit.log_scale[0]) for fit in fits.values()], axis=0)
    every = np.stack([_predicted(fits[form.base], form, utd, data, bound, at) for form in forms])
    found = [
        error
        for column in range(truth.shape[1])
        if (error := _error(every[..., column], truth[:, column], truth_bound[:, column], alive, noise)) is not None
    ]
    if not found:
        return None
    return np.asarray(found[0] if len(found) == 1 else np.sqrt(np.mean(np.square(found), axis=0)))


def _error(every: Floats, truth: Floats, truth_bound: Floats, alive: Bools, noise: float) -> Floats | None:
    """The same at one point: `every` is log D by form, shape (n_forms, n_tasks), `alive` the tasks that have a law."""
    known = ~np.isnan(truth) & alive
    if not known.any():
        return None
    predicted = every[:, known]
    censored, log_bound = np.isposinf(truth[known]), np.log(truth_bound[known])
    if censored.all() and (predicted > log_bound).all():
        return None  # bounds that every form keeps don't tell one from another
    measured = np.log(np.where(censored, 1.0, truth[known]))
    return np.asarray((predicted - np.where(censored, expected_above(predicted, log_bound, noise), measured)).mean(axis=1))


def _predicted(fit: FormFit, form: Form, utd: Floats, data: Floats, bound: Floats, at: Floats) -> Floats:
    """log D of each task at σ of shape (..., n), shape (n_tasks, n), by a form that takes the parameters of `fit`, fitted to `data`."""
    return np.asarray(fit.log_data(np.clip(np.log(at), *fit.followed(form, utd, data, bound)))[0])
