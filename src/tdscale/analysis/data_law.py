"""The data law D_J(σ) = D_min·(1 + (σ/β)^(−α)) (equations 4.1, D.5), fitted in log D, jointly over tasks.

Written with h(σ) = log(1 + exp(τ − α·x)), x = log σ, the law is log D = log D_min[task] + h(σ): given the two shape
parameters (α, τ) the intercepts are means, so that a fit is a search in two dimensions, done for all draws at once:
every point of a grid first (the optimum is the global one), Gauss–Newton steps after.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# α and τ stay within what curves over a factor of 10⁵ in σ can tell apart
ALPHA_BOUNDS = (0.02, 6.0)
TAU_BOUNDS = (-9.0, 12.0)
_GRID_ALPHA = np.geomspace(0.05, 5.0, 36)
_GRID_TAU = np.linspace(-7.0, 10.0, 52)
_STEPS = 25
_CENSORING_ROUNDS = 12


@dataclass(frozen=True, kw_only=True)
class ShapeFit:
    """The law's parameters, leading axis the draws.

    Attributes:
        log_d_min: shape (n_draws, n_tasks); NaN for a task without data.
        alpha: shape (n_draws,).
        log_ratio: shape (n_draws,): log of β^α, the offset's share at σ = 1.
        loss: mean squared error of log D over the points used, shape (n_draws,).
        residual: shape (n_draws, n_tasks, n_utds), 0 where nothing was fitted.
    """

    log_d_min: Floats
    alpha: Floats
    log_ratio: Floats
    loss: Floats
    residual: Floats

    @property
    def beta(self) -> Floats:
        """σ at which D is twice D_min, shape (n_draws,)."""
        return np.exp(np.clip(self.log_ratio / self.alpha, -300, 300))


def log_shape(utd: Floats, alpha: Floats, log_ratio: Floats) -> Floats:
    """log(1 + (σ/β)^(−α)) for σ of shape (n,) and parameters of shape (...,): shape (..., n)."""
    return np.logaddexp(0.0, log_ratio[..., None] - alpha[..., None] * np.log(utd))


def fit_offset_law(utd: Floats, data: Floats, bound: Floats | None = None) -> ShapeFit:
    """Fit the law to D of several tasks, sharing its shape; D_min is each task's own.

    Censored points (infinite D) enter as "more than `bound`": the expectation of log D given the bound takes their
    place, round by round (the EM algorithm for censored normal regression).

    Args:
        utd: σ, shape (n_utds,).
        data: D in env steps, shape (n_draws, n_tasks, n_utds); infinity where censored, NaN where missing.
        bound: last env step seen, shape (n_tasks, n_utds); needed where data is censored.

    Raises:
        ValueError: with fewer than three different σ, which can't identify a law of three parameters.
    """
    if (np.isfinite(data).any(axis=(0, 1))).sum() < 3:
        raise ValueError("fewer than three σ reach the threshold; a law of three parameters needs at least three, better five")
    log_data = np.log(np.where(np.isfinite(data), data, 1.0))
    censored = np.isposinf(data)
    # a task in which nothing is reached tells nothing of the shape
    alive = np.isfinite(data).any(axis=-1, keepdims=True)
    used = (np.isfinite(data) | censored) & alive
    if not (censored & alive).any():
        return _fit_complete(utd, log_data, used)
    if bound is None:
        raise ValueError("data is censored, so the last env step seen (bound) is needed")
    log_bound = np.broadcast_to(np.log(bound), data.shape)
    filled = np.where(censored, log_bound, log_data)
    fit = _fit_complete(utd, filled, used)
    for _ in range(_CENSORING_ROUNDS):
        predicted = filled - fit.residual
        n_seen = (used & ~censored).sum(axis=(-2, -1))
        seen = np.where(used & ~censored, fit.residual**2, 0.0).sum(axis=(-2, -1))
        scale = np.sqrt(seen / np.maximum(n_seen - 3, 1) + 1e-4)[:, None, None]
        distance = (log_bound - predicted) / scale
        expected = predicted + scale * np.exp(-0.5 * distance**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-distance))
        filled = np.where(censored & used, np.maximum(expected, log_bound), log_data)
        fit = _fit_complete(utd, filled, used)
    return fit


def fit_power_law(utd: Floats, data: Floats) -> tuple[Floats, Floats]:
    """The simpler law D = c[task]·σ^(−γ): (log c of shape (n_draws, n_tasks), γ of shape (n_draws,)); censored points are left out."""
    used = np.isfinite(data)
    log_data = np.where(used, np.log(np.where(used, data, 1.0)), 0.0)
    x = np.log(utd)
    count = np.maximum(used.sum(axis=-1), 1)
    mean_x = (used * x).sum(axis=-1) / count
    mean_y = log_data.sum(axis=-1) / count
    centred = np.where(used, x - mean_x[..., None], 0.0)
    gamma = -(centred * log_data).sum(axis=(-2, -1)) / np.maximum((centred**2).sum(axis=(-2, -1)), 1e-12)
    log_c = np.where(used.any(axis=-1), mean_y + gamma[:, None] * mean_x, np.nan)
    return log_c, gamma


def _fit_complete(utd: Floats, log_data: Floats, used: Bools) -> ShapeFit:
    x = np.log(utd)
    centre = x.mean()
    alpha, tau = _best_of_grid(x - centre, log_data, used)
    alpha, tau = _refine(x - centre, log_data, used, alpha, tau)
    shape = np.logaddexp(0.0, tau[:, None] - alpha[:, None] * (x - centre))[:, None, :]
    residual, mean = _centred(log_data - shape, used)
    count = used.sum(axis=(-2, -1))
    return ShapeFit(
        log_d_min=np.where(used.any(axis=-1), mean, np.nan),
        alpha=alpha,
        log_ratio=tau + alpha * centre,
        loss=(residual**2).sum(axis=(-2, -1)) / np.maximum(count, 1),
        residual=residual,
    )


def _centred(values: Floats, used: Bools) -> tuple[Floats, Floats]:
    """Values minus their mean over the used σ of each task (0 elsewhere), and those means."""
    mean = np.where(used, values, 0.0).sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)
    return np.where(used, values - mean[..., None], 0.0), mean


def _best_of_grid(x: Floats, log_data: Floats, used: Bools) -> tuple[Floats, Floats]:
    """The best (α, τ) of the grid for each draw. Draws that share the same used points share one matrix product."""
    alpha, tau = (a.ravel() for a in np.meshgrid(_GRID_ALPHA, _GRID_TAU, indexing="ij"))
    shapes = np.logaddexp(0.0, tau[:, None] - alpha[:, None] * x)  # (n_grid, n_utds)
    n_draws = len(log_data)
    best = np.empty(n_draws, dtype=np.intp)
    patterns, member = np.unique(used.reshape(n_draws, -1), axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        of_pattern = np.flatnonzero(member.ravel() == index)
        mask = pattern.reshape(used.shape[1:])
        product = np.zeros((len(of_pattern), len(alpha)))
        energy = np.zeros(len(alpha))
        for task, seen in enumerate(mask):
            if not seen.any():
                continue
            h = shapes[:, seen] - shapes[:, seen].mean(axis=1, keepdims=True)
            y = log_data[of_pattern, task][:, seen]
            product += y @ h.T
            energy += (h**2).sum(axis=1)
        best[of_pattern] = np.argmin(energy - 2 * product, axis=1)
    return alpha[best], tau[best]


def _refine(x: Floats, log_data: Floats, used: Bools, alpha: Floats, tau: Floats) -> tuple[Floats, Floats]:
    """Levenberg–Marquardt steps on (α, τ), all draws at once; a step that does not lower the loss is not taken."""
    damping = np.full(alpha.shape, 1e-3)

    def losses(a: Floats, t: Floats) -> tuple[Floats, Floats, Floats]:
        exponent = t[:, None] - a[:, None] * x
        residual, _ = _centred(log_data - np.logaddexp(0.0, exponent)[:, None, :], used)
        return (residual**2).sum(axis=(-2, -1)), residual, exponent

    loss, residual, exponent = losses(alpha, tau)
    for _ in range(_STEPS):
        slope = 0.5 * (1 + np.tanh(exponent / 2))  # ∂h/∂τ
        j_tau, _ = _centred(np.broadcast_to(slope[:, None, :], residual.shape), used)
        j_alpha, _ = _centred(np.broadcast_to((-x * slope)[:, None, :], residual.shape), used)
        a11 = (j_alpha**2).sum(axis=(-2, -1)) * (1 + damping) + 1e-14
        a22 = (j_tau**2).sum(axis=(-2, -1)) * (1 + damping) + 1e-14
        a12 = (j_alpha * j_tau).sum(axis=(-2, -1))
        b1 = (j_alpha * residual).sum(axis=(-2, -1))
        b2 = (j_tau * residual).sum(axis=(-2, -1))
        determinant = np.maximum(a11 * a22 - a12**2, 1e-300)
        new_alpha = np.clip(alpha + (a22 * b1 - a12 * b2) / determinant, *ALPHA_BOUNDS)
        new_tau = np.clip(tau + (a11 * b2 - a12 * b1) / determinant, *TAU_BOUNDS)
        new_loss, new_residual, new_exponent = losses(new_alpha, new_tau)
        better = new_loss < loss
        alpha, tau = np.where(better, new_alpha, alpha), np.where(better, new_tau, tau)
        loss = np.where(better, new_loss, loss)
        residual = np.where(better[:, None, None], new_residual, residual)
        exponent = np.where(better[:, None], new_exponent, exponent)
        damping = np.clip(np.where(better, damping / 4, damping * 6), 1e-9, 1e9)
    return alpha, tau
