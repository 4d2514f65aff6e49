"""The simpler predictors that the law is held against, and the interval of a D that is yet to be measured."""

import numpy as np

from tdscale.analysis.arrays import Floats
from tdscale.analysis.data import DataPoints
from tdscale.analysis.estimate import Estimate
from tdscale.analysis.laws import DataLaw

PREDICTORS = ("law", "power law", "nearest σ", "constant")


def simple_predictions(data: Floats, utd: Floats, at: float, *, slope: float | None = None) -> dict[str, Floats]:
    """Each task's log D at one σ, by the predictors that are not the law.

    Args:
        data: D that was not left out, shape (n_tasks, n_utds), at least one finite in each row; censored and missing ones not finite.
        utd: shape (n_utds,).
        at: σ.
        slope: of the power law; None = the least-squares one, shared by the tasks.

    Returns:
        "power law" (a line in log–log space through each task's mean), "nearest σ" (D there; the mean of log D of two that are as
        near), "constant" (the mean of log D): each of shape (n_tasks,).
    """
    known = np.isfinite(data)
    x, log_data = np.log(utd), np.log(np.where(known, data, 1.0))
    count = known.sum(axis=1)
    middle, mean = (known * x).sum(axis=1) / count, log_data.sum(axis=1) / count
    if slope is None:
        slope = power_slope(data, utd)
    distance = np.where(known, np.abs(x - np.log(at)), np.inf)
    nearest = distance <= distance.min(axis=1, keepdims=True) + 1e-9
    return {
        "power law": mean + slope * (np.log(at) - middle),
        "nearest σ": (nearest * log_data).sum(axis=1) / nearest.sum(axis=1),
        "constant": mean,
    }


def power_slope(data: Floats, utd: Floats) -> float:
    """Slope of log D over log σ, least squares with an intercept for each task; D of shape (n_tasks, n_utds), 0 where nothing tells it."""
    known = np.isfinite(data)
    x = np.log(utd)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = np.where(known, x - (known * x).sum(axis=1, keepdims=True) / count, 0.0)
    squares = float((centred**2).sum())
    return float((centred * np.log(np.where(known, data, 1.0))).sum() / squares) if squares > 0 else 0.0


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
