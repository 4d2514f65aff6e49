"""The simpler predictors that the law is compared with, and the interval of a D that is yet to be measured."""

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.data_law import DataPoints
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.fitted_laws import DataLaw
from tdscale.analysis.form_fit import fit_form
from tdscale.analysis.forms import POWER

PREDICTORS = ("law", "power law", "nearest σ", "constant")


def simple_predictions(data: Floats, bound: Floats, utd: Floats, at: float, *, gamma: float | None = None) -> dict[str, Floats]:
    """Each task's log D at one σ, by the predictors that are not the law.

    Args:
        data: D that was not left out, shape (n_tasks, n_utds), at least one finite in each row; infinity where censored, NaN where missing.
        bound: last env step seen, same shape.
        utd: shape (n_utds,).
        at: σ.
        gamma: of the power law; None = the one fitted to these D, shared by the tasks.

    Returns:
        "power law" c·σ^(−γ), "nearest σ" (D there; the mean of log D of two that are as near; no less than the bound of a nearer one that
        is censored), "constant" (the power law with γ = 0), the fits with censored points as bounds: each of shape (n_tasks,).
    """
    power = fit_form(POWER, utd, data[None], bound, known=None if gamma is None else np.array([gamma]))
    constant = fit_form(POWER, utd, data[None], bound, known=np.zeros(1))
    known = np.isfinite(data)
    distance = np.broadcast_to(np.abs(np.log(utd) - np.log(at)), data.shape)
    least = np.where(known, distance, np.inf).min(axis=1, keepdims=True)
    nearest = known & (distance <= least + 1e-9)
    log_nearest = np.where(nearest, np.log(np.where(known, data, 1.0)), 0.0).sum(axis=1) / nearest.sum(axis=1)
    nearer = np.where(np.isposinf(data) & (distance < least - 1e-9), np.log(bound), -np.inf).max(axis=1)
    return {
        "power law": power.log_data(np.log([at]))[0, :, 0],
        "nearest σ": np.maximum(log_nearest, nearer),
        "constant": constant.log_scale[0],
    }


def measured_estimate(law: DataLaw, points: DataPoints, task: int, utd: int, threshold: int) -> Estimate:
    """What the law predicts for a D as it is measured: its own uncertainty and the noise of that measurement, by its bootstrap.

    Args:
        law: fitted without this measurement.
        points: the measurements.
        task, utd, threshold: place in them.
    """
    at, name = float(points.utd[utd]), points.tasks[task]
    draws = law.predict_draws([at], name)[:, 0]
    measured = points.data[1:, task, utd, threshold]
    finite = measured[np.isfinite(measured)]
    if finite.size:
        noise = np.log(finite) - np.log(finite).mean()
        draws = draws * np.exp(np.resize(noise, draws.shape))
    return Estimate.from_draws(float(law.predict([at], name)[0]), draws)
