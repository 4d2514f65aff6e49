"""The authors' data law: z(σ) = c + (σ/b)^(−a) by plain squared error, z the mean over tasks of D over the task's median.

In units of the median over tasks of those medians, M, it is the law of equation D.5 with
D_min = c·M, α = a, β = b·c^(−1/a). (The authors print b where β belongs.)
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_GRID = np.geomspace(0.01, 10.0, 400)
_ROUNDS = 60
_GOLDEN = (np.sqrt(5) - 1) / 2


def task_medians(data: Floats) -> Floats:
    """Each task's median of D over all σ and all thresholds.

    Args:
        data: shape (..., n_tasks, n_utds, n_thresholds); infinity where never reached is left out.

    Returns:
        Shape (..., n_tasks); NaN for a task that never reaches any threshold.
    """
    finite = np.where(np.isfinite(data), data, np.nan)
    known = np.asarray(np.isfinite(finite).any(axis=(-2, -1)))
    return np.where(known, np.nanmedian(np.where(known[..., None, None], finite, 1.0), axis=(-2, -1)), np.nan)


def fit_plain(utd: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of z = c + (σ/b)^(−a), c ≥ 0 and b ≥ 0; given a it is linear in c and b^a, so the search is over a alone.

    Args:
        utd: σ, shape (n_utds,).
        z: shape (n_fits, n_utds), finite.

    Returns:
        a, b, c, each of shape (n_fits,); b is 0, and c the mean, where D does not fall with σ.
    """
    loss = np.stack([_linear(utd, z, np.full(len(z), a))[0] for a in _GRID], axis=1)
    best = np.clip(np.argmin(loss, axis=1), 1, len(_GRID) - 2)
    low, high = np.log(_GRID[best - 1]), np.log(_GRID[best + 1])
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    for _ in range(_ROUNDS):
        go_left = _linear(utd, z, np.exp(left))[0] < _linear(utd, z, np.exp(right))[0]
        low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    a = np.exp((low + high) / 2)
    _, c, scale = _linear(utd, z, a)
    return a, scale ** (1 / a), c


def beta_of_plain(a: float, b: float, c: float) -> float:
    """β of equation D.5 for z = c + (σ/b)^(−a): b·c^(−1/a)."""
    return float(b * c ** (-1 / a))


def _linear(utd: Floats, z: Floats, a: Floats) -> tuple[Floats, Floats, Floats]:
    """Squared error, c ≥ 0 and b^a ≥ 0 of the best line of z > 0 over σ^(−a)."""
    x = utd[None, :] ** (-a[:, None])
    x_mean, z_mean = x.mean(axis=1, keepdims=True), z.mean(axis=1, keepdims=True)
    scale = ((x - x_mean) * (z - z_mean)).sum(axis=1) / ((x - x_mean) ** 2).sum(axis=1)
    scale = np.maximum(scale, 0.0)
    c = z_mean[:, 0] - scale * x_mean[:, 0]
    through_zero = (x * z).sum(axis=1) / (x**2).sum(axis=1)
    scale, c = np.where(c < 0, through_zero, scale), np.maximum(c, 0.0)
    return ((z - c[:, None] - scale[:, None] * x) ** 2).sum(axis=1), c, scale
