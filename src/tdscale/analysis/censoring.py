"""Censored cells in a fit of log D: each says "more than its last step", and enters as the expectation of log D given that bound."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tdscale.analysis.arrays import Floats

Bools = NDArray[np.bool_]

_ROUNDS = 8
_LEAST_VARIANCE = 1e-4


def expected_above(predicted: Floats, log_bound: Floats, scale: Floats | float) -> Floats:
    """Expectation of log D that is normal about `predicted` with standard deviation `scale`, given that it is above `log_bound`."""
    distance = (log_bound - predicted) / scale
    expected = predicted + scale * np.exp(-0.5 * distance**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-distance))
    return np.asarray(np.maximum(expected, log_bound))


def fill_censored(
    log_data: Floats, censored: Bools, used: Bools, bound: Floats | None, fit: Callable[[NDArray[np.intp], Floats, Bools], Floats]
) -> Floats:
    """log D with censored points at their expectation under a law that is fitted to them (the EM algorithm for censored normal regression).

    The first fit is to the points that are not censored. (One to the bounds themselves may end far away, if a bound says next to nothing.)

    Args:
        log_data: shape (n_draws, n_tasks, n_utds).
        censored, used: which points are, and which points are fitted at all; same shape.
        bound: last env step seen, shape (n_tasks, n_utds); None where nothing is censored.
        fit: called with the draws' indices, shape (n,), their log D and which points to use, each of shape (n, n_tasks, n_utds); fits the
            law to these and returns what it predicts of all points, of the same shape.

    Raises:
        ValueError: where a point is censored and `bound` is None.
    """
    filled = log_data.copy()
    some = np.flatnonzero((censored & used).any(axis=(1, 2)))
    if not some.size:
        return filled
    if bound is None:
        raise ValueError("data is censored, so the last env step seen (bound) is needed")
    log_bound = np.broadcast_to(np.log(bound), log_data.shape)[some]
    hidden, seen = (censored & used)[some], (used & ~censored)[some]
    values = log_data[some]
    predicted = fit(some, values, seen)
    for remaining in reversed(range(_ROUNDS)):
        squares = np.where(seen, (values - predicted) ** 2, 0.0).sum(axis=(1, 2))
        scale = np.sqrt(squares / np.maximum(seen.sum(axis=(1, 2)) - 3, 1) + _LEAST_VARIANCE)
        values = np.where(hidden, expected_above(predicted, log_bound, scale[:, None, None]), values)
        if remaining:
            predicted = fit(some, values, used[some])
    filled[some] = values
    return filled
